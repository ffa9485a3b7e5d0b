"""A user's own arrays in a NumPy .npz file."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from batchscope.data.dataset import Array, RawData
from batchscope.data.memory import raw_from_arrays
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
    return raw_from_arrays(**arrays, name=path.stem, source=f"Read from {path}.")


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
