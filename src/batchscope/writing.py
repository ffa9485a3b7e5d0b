"""Files that are written whole or not at all: figures, exports, pages, studies, models of time.

A draft beside the file's place is moved there when it is whole, so that a full disk, an error or a kill in the middle
leaves the file that was there.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

from batchscope.errors import StoreError


@contextlib.contextmanager
def replaced(path: str | Path, remedy: str = "choose another place") -> Iterator[Path]:
    """Yield the path to write to in place of `path`, a file in a folder that is made where there is none.

    What is no ordinary file, such as /dev/stdout, is written to as it is. Raises StoreError, with the remedy, where the
    file cannot be written, also for an OSError raised in the block.
    """
    try:
        if "\0" in str(path):
            raise OSError(errno.EINVAL, "no file name holds a NUL")
        place = Path(os.path.realpath(path))  # of a link, what it leads to
        draft = _draft(place)
        place.parent.mkdir(parents=True, exist_ok=True)
        with _removed(draft, place):
            yield draft
            if draft != place:
                os.replace(draft, place)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror or error}; {remedy}") from None


def write_text(path: str | Path, text: str) -> None:
    """Write a text as UTF-8; what UTF-8 cannot say (half of a surrogate pair, of a file name) is spelt out."""
    with replaced(path) as draft:
        draft.write_text(text, encoding="utf-8", errors="backslashreplace")


def _draft(place: Path) -> Path:
    """Of the same ending, by which some libraries choose a format; short, as long names are refused."""
    try:
        if not stat.S_ISREG(place.stat().st_mode):
            return place
    except FileNotFoundError:
        pass
    return place.with_name(f".{os.getpid()}-{threading.get_ident():x}.partial{place.suffix}")


@contextlib.contextmanager
def _removed(draft: Path, place: Path) -> Iterator[None]:
    """Leave no draft behind."""
    try:
        yield
    finally:
        if draft != place:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
