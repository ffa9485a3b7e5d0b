"""Results files, and those of them that are packed: `results-1of1.sqlite.gz`, a third of the size. No torch.

A packed file is read as it is; a run that goes on in its directory puts the SQLite file in its place, and packs it
again when it ends.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import sqlite3
import stat
import zlib
from pathlib import Path

from batchscope.errors import StoreError
from batchscope.writing import replaced

SUFFIX = ".gz"
_MAGIC = b"SQLite format 3\0"  # https://www.sqlite.org/fileformat.html


def files_of(directory: str | Path) -> list[Path]:
    """The results files of a run directory, packed or not, in the order of their names."""
    # Packed ones twice, the others between: a file that changes its form meanwhile is found in one of them.
    patterns = (f"results-*.sqlite{SUFFIX}", "results-*.sqlite", f"results-*.sqlite{SUFFIX}")
    return sorted({path for pattern in patterns for path in Path(directory).glob(pattern)})


def connected(path: Path) -> sqlite3.Connection:
    """Open a results file for reading, in the other form if it has changed it; a packed one is unpacked into memory.

    Raises OSError where it cannot be read, ValueError for a packed file that is damaged, sqlite3.DatabaseError else.
    """
    path = path if path.exists() or not _other(path).exists() else _other(path)
    if path.suffix != SUFFIX:
        # Not read-only: after a kill SQLite first rolls the half-written transaction back.
        return sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=60)
    with contextlib.ExitStack() as unless_opened:
        file = unless_opened.enter_context(contextlib.closing(sqlite3.connect(":memory:")))
        file.deserialize(_content(path))
        unless_opened.pop_all()
        return file


def packed_form(path: Path) -> Path:
    """Where a results file lies when it is packed."""
    return path.with_name(path.name + SUFFIX)


def pack(path: Path) -> Path:
    """Put a packed file in the place of a results file that nobody writes to, and return its path.

    Raises StoreError where there is one already, whose rows may be others, another program holds a write-ahead log
    of the file open, it is damaged, or it cannot be written.
    """
    packed = packed_form(path)
    if packed.exists():
        raise StoreError(f"{packed} is there already; it is read with {path.name}: move one of them away to pack")
    with contextlib.closing(connected(path)) as file:
        _end_log(file, path)
        content = file.serialize()
    _write(packed, gzip.compress(content, mtime=0))  # without the time: the same rows give the same bytes
    path.unlink()
    return packed


def unpack(path: Path) -> bool:
    """Put a results file in the place of its packed form, so that it can be written to; whether there was one.

    Where both are there, as after a kill in the middle, both stay, and are read as one.
    Raises StoreError where it cannot be written; OSError and ValueError as `connected`.
    """
    packed = packed_form(path)
    if path.exists() or not packed.exists():
        return False
    _write(path, _content(packed))
    packed.unlink()
    return True


def _other(path: Path) -> Path:
    return path.with_suffix("") if path.suffix == SUFFIX else packed_form(path)


def _content(packed: Path) -> bytes:
    if not stat.S_ISREG(packed.stat().st_mode):  # a pipe would be waited on for ever
        raise OSError("no ordinary file")
    try:
        content = gzip.decompress(packed.read_bytes())
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"no whole gzip file: {error}") from None
    if not content.startswith(_MAGIC):
        raise ValueError("what is packed is no SQLite file")
    return content


def _end_log(file: sqlite3.Connection, path: Path) -> None:
    """Leave the write-ahead log that somebody gave a file: there is none in memory, where packed files are read."""
    file.execute("PRAGMA busy_timeout=1000")
    try:
        file.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.OperationalError as error:
        raise StoreError(
            f"{path} cannot be packed: {error}; expected that no other program has it open: close that, and try again"
        ) from None
    except sqlite3.DatabaseError as error:
        raise StoreError(f"{path} cannot be packed: {error}; expected a whole SQLite file: it stays as it is") from None


def _write(path: Path, content: bytes) -> None:
    """Whole, before what it replaces is removed."""
    with replaced(path) as draft, draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
