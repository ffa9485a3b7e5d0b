"""The state of a cohort on disk, so that a killed run loses at most one epoch, or a few seconds of short ones."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from batchscope.architectures import Architecture
from batchscope.training.settings import Member, Settings

# Seconds between two writings: short epochs are cheaper to repeat than to keep one by one.
INTERVAL = 5.0


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
        content = [dataclasses.asdict(architecture), dataclasses.asdict(settings), *map(dataclasses.asdict, members)]
        identity = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        return cls(None if path is None else Path(path), identity, writes)

    def load(self) -> dict[str, Any] | None:
        """Return the state, or None when there is none of this cohort."""
        if self._path is None or not self._path.is_file():
            return None
        saved: dict[str, Any] = torch.load(self._path, map_location="cpu", weights_only=True)
        return saved["state"] if saved["identity"] == self._identity else None

    def save(self, state: Callable[[], Mapping[str, Any]]) -> None:
        """Write the state if the last writing is long enough ago."""
        if self._path is None or not self._writes or time.monotonic() - self._saved_at < INTERVAL:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_suffix(f".{os.getpid()}.partial")
        torch.save({"identity": self._identity, "state": state()}, partial)
        partial.replace(self._path)
        self._saved_at = time.monotonic()
