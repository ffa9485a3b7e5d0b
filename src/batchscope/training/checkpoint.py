"""The state of a cohort on disk, so that a killed run loses at most one epoch, or a few seconds of short ones.

A file is what `torch.save` writes, and behind it the sha256 of that: a file that was cut short, or of which a bit was
flipped, would otherwise be gone on from, to other numbers.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import torch

from batchscope.architectures import Architecture
from batchscope.training.settings import Member, Settings

# Seconds between two writings: short epochs are cheaper to repeat than to keep one by one.
INTERVAL = 5.0
DAMAGED = ".damaged"  # ends the name of a file that was set aside
NOT_WHOLE = "not the whole of what was written"
# Raise it when a state is made of other things than before: states of other versions are not gone on from.
FORMAT = 1
_SEAL = b"\nsha256 "
_SEAL_LENGTH = len(_SEAL) + 64


class Checkpoint:
    """A file that is replaced as a whole, and read only by the cohort that wrote it. Without a path, nothing at all."""

    def __init__(self, path: Path | None, identity: str, writes: bool = True) -> None:
        self._path, self._identity, self._writes = path, identity, writes
        self._saved_at = time.monotonic()

    @classmethod
    def of(
        cls,
        path: str | Path | None,
        architecture: Architecture,
        settings: Settings,
        members: Sequence[Member],
        writes: bool = True,
    ) -> Checkpoint:
        """writes: False for ranks that only read."""
        records = [dataclasses.asdict(architecture), dataclasses.asdict(settings), *map(dataclasses.asdict, members)]
        identity = hashlib.sha256(json.dumps([FORMAT, *records], sort_keys=True).encode()).hexdigest()
        return cls(None if path is None else Path(path), identity, writes)

    def load(self) -> dict[str, Any] | None:
        """Return the state, or None when there is none of this cohort.

        A file that is not whole, or that something else wrote, is set aside under its name with ".damaged", with a
        warning: its cohort starts over, instead of failing at the same file for ever.
        """
        if self._path is None or not self._path.is_file():
            return None
        try:
            with self._path.open("rb") as file:
                if not _is_sealed(file):
                    raise ValueError(NOT_WHOLE)
                saved: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        except FileNotFoundError:  # another rank was faster to set it aside
            return None
        except (OSError, ValueError) as error:
            if self._writes:
                _set_aside(self._path, error)
            return None
        return saved["state"] if saved["identity"] == self._identity else None

    def save(self, state: Callable[[], Mapping[str, Any]]) -> None:
        """Write the state if the last writing is long enough ago."""
        if self._path is None or not self._writes or time.monotonic() - self._saved_at < INTERVAL:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_suffix(f".{os.getpid()}.partial")
        try:
            torch.save({"identity": self._identity, "state": state()}, partial)
            _seal(partial)
            partial.replace(self._path)
        finally:
            partial.unlink(missing_ok=True)
        self._saved_at = time.monotonic()


def read_whole(path: Path) -> bytes | None:
    """Return a checkpoint's content, for another machine; None for one that is not whole, which is set aside."""
    with path.open("rb") as file:
        whole = _is_sealed(file)
        content = file.read()
    if not whole:
        _set_aside(path, ValueError(NOT_WHOLE))
    return content if whole else None


def _set_aside(path: Path, error: Exception) -> None:
    aside = path.with_name(path.name + DAMAGED)
    path.replace(aside)
    warnings.warn(f"{path} is damaged ({error}); kept as {aside.name}, its runs start over", stacklevel=3)


def _seal(path: Path) -> None:
    """Write behind the content of a file what it must be."""
    with path.open("r+b") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0, io.SEEK_END)
        file.write(_SEAL + digest.encode())


def _is_sealed(file: IO[bytes]) -> bool:
    """Whether the content of a file is what its seal says; the file is left at its beginning."""
    length = file.seek(0, io.SEEK_END) - _SEAL_LENGTH
    file.seek(max(0, length))
    seal, digest = file.read(), hashlib.sha256()
    file.seek(0)
    for start in range(0, length, 1 << 20):
        digest.update(file.read(min(1 << 20, length - start)))
    file.seek(0)
    return seal == _SEAL + digest.hexdigest().encode()
