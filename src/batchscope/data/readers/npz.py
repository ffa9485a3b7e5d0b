"""A user's own arrays: a NumPy .npz file, or arrays in memory."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from batchscope.data.dataset import Array, RawData
from batchscope.data.standardise import default_scheme
from batchscope.errors import DataError

REQUIRED = ("inputs", "targets")
OPTIONAL = ("heldout_inputs", "heldout_targets")


def read_npz(*, path: Path) -> RawData:
    """Read the arrays inputs, targets and, together, heldout_inputs, heldout_targets from the .npz file at `path`.

    inputs: [n, d], grey images [n, H, W] or images [n, C, H, W]. targets: whole numbers [n] are classes 0, 1, ...;
    floats [n] or [n, q] are regression targets. Raises DataError naming the keys found otherwise.
    """
    arrays = _read_arrays(path)
    missing = [key for key in REQUIRED if key not in arrays]
    unknown = [key for key in arrays if key not in (*REQUIRED, *OPTIONAL)]
    if missing or unknown or len(arrays) == 3:
        raise DataError(
            f"{path}: found the arrays {', '.join(arrays) or 'none'}; expected {' and '.join(REQUIRED)}, "
            f"and optionally {' with '.join(OPTIONAL)}: np.savez(path, inputs=..., targets=...)"
        )
    return from_arrays(path.stem, **arrays, source=str(path))


def from_arrays(
    name: str,
    inputs: Array,
    targets: Array,
    heldout_inputs: Array | None = None,
    heldout_targets: Array | None = None,
    source: str = "arrays given in memory",
) -> RawData:
    """Return arrays as RawData: see `read_npz` for the shapes. Classes are counted over both parts."""
    both = [targets] if heldout_targets is None else [targets, heldout_targets]
    is_regression = any(part.dtype.kind == "f" for part in both)
    inputs = _numeric(name, "inputs", inputs)
    return RawData(
        name=name,
        title=name,
        inputs=inputs,
        targets=_targets(name, targets, is_regression),
        heldout_inputs=None if heldout_inputs is None else _numeric(name, "heldout_inputs", heldout_inputs),
        heldout_targets=None if heldout_targets is None else _targets(name, heldout_targets, is_regression),
        num_classes=None if is_regression else 1 + max((int(part.max()) for part in both if part.size), default=0),
        source=source,
        scheme=default_scheme(inputs),
    )


def _read_arrays(path: Path) -> dict[str, Array]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, AttributeError) as error:
        raise DataError(
            f"{path}: not a whole .npz file of plain arrays ({error}); write it again with np.savez"
        ) from error


def _numeric(name: str, key: str, array: Array) -> Array:
    if array.dtype.kind not in "iuf" or array.ndim < 2:
        raise DataError(
            f"{name}: {key} are {array.dtype} of shape {array.shape}; expected numbers [n, d] or [n, C, H, W]"
        )
    return array[:, None] if array.ndim == 3 else array


def _targets(name: str, array: Array, is_regression: bool) -> Array:
    if array.dtype.kind not in "iuf":
        raise DataError(f"{name}: targets are {array.dtype}; expected whole numbers (classes) or floats (regression)")
    if not is_regression:
        return array
    return (array[:, None] if array.ndim == 1 else array).astype(np.float64)
