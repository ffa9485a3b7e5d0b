"""Reading a whole file, plain or compressed, with its damage named."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path

from batchscope.errors import DataError

_DECOMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.decompress,
    ".xz": lzma.decompress,
    ".bz2": bz2.decompress,
}
SUFFIXES = tuple(_DECOMPRESS)  # in order of preference: plain is the quickest to read


def read_bytes(path: Path) -> bytes:
    """Return the contents of `path`, decompressed by its suffix (.gz, .xz, .bz2) with the format's own CRC checked.

    Raises DataError for a file that cannot be read, is truncated, or fails its check.
    """
    decompress = _DECOMPRESS.get(path.suffix, bytes)
    try:
        stored = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    try:
        return decompress(stored)
    except (EOFError, OSError, ValueError, zlib.error, lzma.LZMAError) as error:
        kind = path.suffix.removeprefix(".")
        raise DataError(
            f"{path} ({len(stored)} bytes) is truncated or corrupt: expected a whole {kind} file, {error}"
        ) from error
