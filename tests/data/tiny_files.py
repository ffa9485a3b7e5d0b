"""Writers of small files, from the formats' descriptions rather than from the readers."""

import gzip
from pathlib import Path

import numpy as np


def idx_bytes(array: np.ndarray) -> bytes:
    """The IDX form of an array of bytes, written from the format's description: magic, sizes, data."""
    header = (0x0800 + array.ndim).to_bytes(4, "big") + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return header + array.astype(np.uint8).tobytes()


def write_idx_set(
    folder: Path, prefixes: tuple[str, str], sizes: tuple[int, int], labels: range
) -> dict[str, np.ndarray]:
    """Write a set of four gzipped IDX files with 28 x 28 images; return the arrays by part and kind."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(7)
    arrays = {}
    for prefix, n in zip(prefixes, sizes, strict=True):
        arrays[f"{prefix}-images-idx3-ubyte"] = draw.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        arrays[f"{prefix}-labels-idx1-ubyte"] = draw.integers(labels.start, labels.stop, n, dtype=np.uint8)
    for name, array in arrays.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(idx_bytes(array)))
    return arrays
