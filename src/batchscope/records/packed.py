"""Results files, and those of them that are packed: `results-1of1.sqlite.gz`, a third of the size. No torch.

A packed file is read as it is; a run that goes on in its directory first puts the SQLite file in its place.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import sqlite3
import zlib
from pathlib import Path

from batchscope.writing import replaced

SUFFIX = ".gz"


def files_of(directory: str | Path) -> list[Path]:
    """The results files of a run directory, packed or not, in the order of their names."""
    return sorted(path for ending in ("", SUFFIX) for path in Path(directory).glob(f"results-*.sqlite{ending}"))


def connected(path: Path) -> sqlite3.Connection:
    """Open a results file for reading; a packed one is unpacked into memory.

    Raises OSError where it cannot be read, ValueError for a packed file that is damaged, sqlite3.DatabaseError else.
    """
    if path.suffix != SUFFIX:
        # Not read-only: after a kill SQLite first rolls the half-written transaction back.
        return sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=60)
    with contextlib.ExitStack() as unless_opened:
        file = unless_opened.enter_context(contextlib.closing(sqlite3.connect(":memory:")))
        file.deserialize(_content(path))
        unless_opened.pop_all()
        return file


def pack(path: Path) -> Path:
    """Put a packed file in the place of a results file that nobody writes to, and return its path."""
    with contextlib.closing(connected(path)) as file:
        content = file.serialize()
    packed = _packed(path)
    _write(packed, gzip.compress(content, mtime=0))  # without the time: the same rows give the same bytes
    path.unlink()
    return packed


def unpack(path: Path) -> None:
    """Put a results file in the place of its packed form, if there is one, so that it can be written to.

    Where both are there, as after a kill in the middle, both stay, and are read as one.
    Raises StoreError where it cannot be written; else as `connected`.
    """
    packed = _packed(path)
    if packed.exists() and not path.exists():
        _write(path, _content(packed))
        packed.unlink()


def _packed(path: Path) -> Path:
    return path.with_name(path.name + SUFFIX)


def _content(packed: Path) -> bytes:
    try:
        content = gzip.decompress(packed.read_bytes())
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"no whole gzip file: {error}") from None
    if not content:
        raise ValueError("no whole gzip file: it is empty")
    return content


def _write(path: Path, content: bytes) -> None:
    """On the disk before what it replaces is removed."""
    with replaced(path) as draft, draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
