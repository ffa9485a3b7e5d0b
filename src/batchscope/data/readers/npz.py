"""A user's own arrays in a NumPy .npz file.

A file comes from anywhere: what it promises is checked, against itself and against a limit, before memory is taken for
it, and nothing in it is executed.
"""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from batchscope.data.dataset import Array, RawData
from batchscope.data.memory import raw_from_arrays
from batchscope.errors import DataError

REQUIRED = ("inputs", "targets")
OPTIONAL = ("heldout_inputs", "heldout_targets")
KEYS = (*REQUIRED, *OPTIONAL)
# Other names in use, in small letters -> ours.
ALIASES = {"x": "inputs", "y": "targets", "x_train": "inputs", "y_train": "targets"}
ALIASES |= {"x_test": "heldout_inputs", "y_test": "heldout_targets"}
# Bytes of all arrays together: they are read whole, and a float32 copy is made. An assumption about the machine; larger
# data goes through `batchscope.data.from_arrays`, or as a subset.
LIMIT = 4 << 30
# NumPy's own limit of a header, and of what stands in front of it: magic, version, length.
_HEADER, _PRELUDE = 10_000, 12
_DEFLATE_AT_BEST = 1032  # bytes out of one byte, by the format (RFC 1951)


def read_npz(*, path: Path) -> RawData:
    """Read the arrays inputs, targets and, together, heldout_inputs, heldout_targets from the .npz file at `path`.

    X, y (or X_train, y_train) and X_test, y_test are other names of theirs, in capitals or not.

    inputs: [n, d], grey images [n, H, W] or images [n, C, H, W]. targets: whole numbers [n] are classes 0, 1, ...;
    floats [n] or [n, q] are regression targets. Raises DataError for a file that is damaged or promises what it does
    not hold or more than 4 GiB, for Python objects, and naming the arrays found where they are not those.
    """
    return raw_from_arrays(**_read_arrays(path), name=path.stem, source=f"Read from {path}.")


def our_names(where: object, found: Sequence[str]) -> list[str]:
    """The names of arrays as ours, in their order; DataError for names that are missing, unknown or there twice."""
    names = [ALIASES.get(name.lower(), name) for name in found]
    missing = [key for key in REQUIRED if key not in names]
    unknown = [key for key in names if key not in KEYS]
    if missing or unknown or len(names) == 3 or len(set(names)) < len(names):
        told = ", ".join(name[:60] for name in found[:8]) + (", ..." if len(found) > 8 else "")
        raise DataError(
            f"{where}: found the arrays {told or 'none'}; expected {' and '.join(REQUIRED)} (or X and y), "
            f"and optionally {' with '.join(OPTIONAL)}: np.savez(path, inputs=..., targets=...)"
        )
    return names


def _read_arrays(path: Path) -> dict[str, Array]:
    try:
        with path.open("rb") as file:
            _check_kind(path, file.read(8))
            with zipfile.ZipFile(file) as archive:
                members = _members(path, archive)
                _check_sizes(path, [_promise(path, archive, member) for member in members.values()])
                return {name: _array(archive, member) for name, member in members.items()}
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except DataError:
        raise
    except MemoryError as error:
        raise DataError(f"{path}: its arrays do not fit into memory; give a subset of the examples") from error
    except (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: not a whole .npz file ({error}); write it again with np.savez") from error


def _check_kind(path: Path, first: bytes) -> None:
    if first.startswith(np.lib.format.MAGIC_PREFIX):
        raise DataError(
            f"{path}: a single array, as np.save writes it; expected several by name: "
            "np.savez(path, inputs=..., targets=...)"
        )


def _members(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Name of an array -> the member that holds it; those that are read, each once and plain or deflated."""
    members = archive.infolist()
    names = our_names(path, [member.filename.removesuffix(".npy") for member in members])
    for member in members:
        if member.flag_bits & 1:
            raise DataError(f"{path}: {member.filename} is encrypted; write it again with np.savez")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DataError(
                f"{path}: {member.filename} is compressed by method {member.compress_type} of zip; expected what "
                "np.savez or np.savez_compressed writes"
            )
    return dict(zip(names, members, strict=True))


@dataclass(frozen=True)
class _Promise:
    """Of one array: what its header says it takes, what the archive says, and what there can be in the file at most."""

    name: str
    header: int
    archive: int
    possible: int


def _promise(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> _Promise:
    with archive.open(member) as stream:
        length, shape, dtype = _read_header(path, member.filename, stream)
    if dtype.hasobject:
        raise DataError(
            f"{path}: {member.filename} holds Python objects, which run code when they are read; expected numbers"
        )
    stored = min(member.compress_size, path.stat().st_size)
    possible = stored if member.compress_type == zipfile.ZIP_STORED else _DEFLATE_AT_BEST * stored
    return _Promise(member.filename, length + math.prod(shape) * dtype.itemsize, member.file_size, possible)


def _read_header(path: Path, name: str, stream: IO[bytes]) -> tuple[int, tuple[int, ...], np.dtype]:
    """Its length in bytes, and the array's shape and type. Looks at the length first: it may say 4 GB."""
    start = stream.read(_PRELUDE)
    if not start.startswith(np.lib.format.MAGIC_PREFIX) or len(start) < _PRELUDE:
        raise DataError(f"{path}: {name} is no array; write it again with np.savez")
    wide = start[6] > 1
    length = int.from_bytes(start[8:12] if wide else start[8:10], "little")
    if length > _HEADER:
        raise DataError(f"{path}: {name} has a header of {length} bytes; expected at most {_HEADER}")
    text = io.BytesIO(start[8:] + stream.read(length - (0 if wide else 2)))
    try:
        read = np.lib.format.read_array_header_2_0 if wide else np.lib.format.read_array_header_1_0
        shape, _, dtype = read(text)
    except Exception as error:  # the header is a Python literal: evaluating a damaged one raises what it likes
        raise DataError(f"{path}: {name} has a damaged header; write it again with np.savez") from error
    if any(size < 0 for size in shape):
        raise DataError(f"{path}: {name} has the shape {shape}; expected sizes of 0 or more")
    return 8 + text.tell(), shape, dtype


def _check_sizes(path: Path, promises: list[_Promise]) -> None:
    for one in promises:
        if one.header != one.archive:
            raise DataError(
                f"{path}: {one.name} says that it takes {one.header} bytes, but there are {one.archive}; write it again"
            )
        if one.archive > one.possible:
            raise DataError(f"{path}: {one.name} cannot hold the {one.archive} bytes it promises; write it again")
    total = sum(one.header for one in promises)
    if total > LIMIT:
        raise DataError(
            f"{path}: its arrays take {total / 2**30:.1f} GiB; expected at most {LIMIT >> 30} GiB, as they are read "
            "whole: keep fewer examples, or smaller types such as float32 or uint8"
        )


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Array:
    with archive.open(member) as stream:
        array: Array = np.lib.format.read_array(stream, allow_pickle=False)
        stream.read(1)  # the end: only then is the checksum looked at
    return array
