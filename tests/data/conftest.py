"""Tiny files in each format, and the real ones where they are found."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from batchscope.data.locate import find


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


@pytest.fixture(autouse=True)
def nowhere_else(request, monkeypatch, tmp_path_factory):
    """Keep the tests' searches inside tmp_path, except for tests of the real files."""
    if request.node.get_closest_marker("real_data"):
        return
    empty = tmp_path_factory.mktemp("empty")
    monkeypatch.delenv("BATCHSCOPE_DATA", raising=False)
    monkeypatch.setattr("batchscope.data.locate._checkout", lambda: None)
    monkeypatch.setattr("batchscope.data.locate.user_cache", lambda: empty / "cache")
    monkeypatch.setattr("batchscope.data.locate.platformdirs.site_data_path", lambda *a, **k: empty / "system")


@pytest.fixture
def mnist_folder(tmp_path):
    """A data folder with a small MNIST, 53 + 17 images, in mnist/."""
    write_idx_set(tmp_path / "mnist", ("train", "t10k"), (53, 17), range(10))
    return tmp_path


def needs(name: str):
    """Skip unless the real files of the set are found."""
    found = find(name)
    return pytest.mark.skipif(found is None, reason=f"the real files of {name} are not at hand")
