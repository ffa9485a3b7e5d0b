"""Reading a whole file, plain or compressed, with its damage named."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from batchscope.errors import DataError

_OPEN: dict[str, Callable[[Path], IO[bytes] | Any]] = {
    "": lambda path: path.open("rb"),
    ".gz": gzip.open,
    ".xz": lzma.open,
    ".bz2": bz2.open,
}
SUFFIXES = tuple(_OPEN)  # in order of preference: plain is the quickest to read
# Bytes of one file, decompressed: the largest of a known set, the images of EMNIST letters, takes 98 MB.
LIMIT = 256 << 20
_PIECE = 1 << 20


def read_bytes(path: Path) -> bytes:
    """Return the contents of `path`, decompressed by its suffix (.gz, .xz, .bz2) with the format's own CRC checked.

    Raises DataError for a file that cannot be read, is truncated, fails its check, or holds more than 256 MiB.
    """
    stored = 0
    try:
        stored = path.stat().st_size
        with _OPEN.get(path.suffix, _OPEN[""])(path) as file:
            return _read(path, file)
    except DataError:
        raise
    except (EOFError, OSError, ValueError, zlib.error, lzma.LZMAError) as error:
        if getattr(error, "errno", None) is not None:
            raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error  # type: ignore[union-attr]
        kind = path.suffix.removeprefix(".")
        raise DataError(
            f"{path} ({stored} bytes) is truncated or corrupt: expected a whole {kind} file, {error}"
        ) from error


def _read(path: Path, file: IO[bytes]) -> bytes:
    """All of it, piece by piece: a small file may unpack to any size."""
    pieces: list[bytes] = []
    while piece := file.read(_PIECE):
        pieces.append(piece)
        if len(pieces) * _PIECE > LIMIT:
            raise DataError(
                f"{path}: more than {LIMIT >> 20} MiB once decompressed; expected a file of the set, which is smaller"
            )
    return b"".join(pieces)
