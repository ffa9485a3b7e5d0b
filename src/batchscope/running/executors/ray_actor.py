"""The worker of the Ray executor: an actor that keeps torch and the data in memory and trains cohorts one by one.

Ray is told to send this file's code by value (see `executors.ray`): a worker with another batchscope, or with none,
can then say what it has. So nothing but the standard library is imported before the versions were compared.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import hashlib
import importlib.metadata
import platform
import queue
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchscope.data import Dataset
    from batchscope.running.executors.worker import Message
    from batchscope.running.job import Job

DATASETS_KEPT = 2  # as many as `studies.dataset.load_data` keeps


class CohortActor:
    """Trains on `device`, "cpu" or "cuda". folder: where the run was started."""

    def __init__(self, device: str, folder: str) -> None:
        self._device = device
        self._datasets: dict[str, Dataset] = {}
        self._folders: dict[str, tempfile.TemporaryDirectory[str]] = {}
        look_elsewhere(folder)

    def greet(self, packages: Sequence[str]) -> tuple[str, dict[str, str], bool]:
        """(address of the node, `installed` here, whether the device is there); imports torch, which takes longest."""
        import ray

        sees_cuda = _sees_cuda()
        return ray.util.get_node_ip_address(), installed(packages), sees_cuda or self._device == "cpu"

    def train(
        self, job: Job, dataset: Dataset | None, checksum: str, state: bytes | None, code: Mapping[str, bytes]
    ) -> Iterator[Message]:
        """Yield the messages of `worker.serve` and ("state", bytes) whenever the state between epochs was kept.

        dataset: None where it is one of the latest that came, by `checksum`. state: to go on from, or None. A job with
        a path for its checkpoint keeps its state there and sends none. code: path -> content of the user's own.
        """
        from batchscope.running.executors.worker import serve
        from batchscope.running.freed_memory import keep_freed_memory

        keep_freed_memory()
        messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
        data = self._data(dataset, checksum)
        job = dataclasses.replace(job, folders=(self._unpacked(code),) if code else ())
        with tempfile.TemporaryDirectory(prefix="batchscope-") as folder:
            job, on_epoch = _with_checkpoint(job, Path(folder) / "state.pt", state, messages.put)
            work = (job, self._device, messages.put, data, on_epoch)
            threading.Thread(target=serve, args=work, daemon=True).start()
            while True:
                message = messages.get()
                yield message
                if message[0] == "end":
                    return

    def _unpacked(self, code: Mapping[str, bytes]) -> str:
        """A folder of this worker's own with these files: no file of the driver's is looked for."""
        digest = hashlib.sha256(repr(sorted(code.items())).encode()).hexdigest()
        if digest not in self._folders:
            folder = self._folders[digest] = tempfile.TemporaryDirectory(prefix="batchscope-code-")
            for name, content in code.items():
                path = Path(folder.name, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        return self._folders[digest].name

    def _data(self, dataset: Dataset | None, checksum: str) -> Dataset:
        """The data as they were sent, in memory of this worker's own: the store's is read-only."""
        if dataset is not None:
            from batchscope.errors import DataError
            from batchscope.running.work import data_checksum

            if (found := data_checksum(dataset)) != checksum:
                raise DataError(
                    f"{dataset.name!r} reached a worker with checksum {found}, but was sent with {checksum}; "
                    "is the memory of that machine sound?"
                )
            held = self._datasets | {checksum: copy.deepcopy(dataset)}
            self._datasets = {key: held[key] for key in latest(tuple(self._datasets), checksum)}
        return self._datasets[checksum]


def _with_checkpoint(
    job: Job, path: Path, state: bytes | None, send: Callable[[Message], None]
) -> tuple[Job, Callable[[int, int], None] | None]:
    """The job with its state kept in `path`, and what sends that on; one with a path of its own stays as it is."""
    if job.checkpoint is not None:
        _check_directory(Path(job.checkpoint).parents[1])
        return job, None
    if state is not None:
        path.write_bytes(state)
    sent = _modified(path)

    def look(epochs_done: int, members_running: int) -> None:
        nonlocal sent
        if (now := _modified(path)) != sent:
            sent = now
            send(("state", path.read_bytes()))

    return dataclasses.replace(job, checkpoint=str(path)), look


def _modified(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


def _check_directory(directory: Path) -> None:
    if not (directory / "study.toml").is_file():
        from batchscope.errors import InputError

        raise InputError(
            f"checkpoints = 'directory', but {directory} is not seen from {platform.node()}; put it on a file system "
            "that all machines share, or choose 'driver'"
        )


def latest(checksums: Sequence[str], newest: str) -> tuple[str, ...]:
    """The data sets that a worker keeps when another one comes; the driver counts along."""
    return (*checksums[1 - DATASETS_KEPT :], newest)


def look_elsewhere(folder: str) -> None:
    """Ray lets workers look for modules in the run's folder first: a types.py lying there must not hide Python's.

    Nor may it hide the user's own code, which is sent: on another machine other files may lie at that place.
    """
    sys.path[:] = [path for path in sys.path if path not in ("", folder)]


def installed(packages: Sequence[str]) -> dict[str, str]:
    """Return name -> version, in this process, of whatever numbers depend on."""
    versions = {name: _version(name) for name in packages}
    return {"python": platform.python_version(), **versions, "batchscope": _batchscope_version()}


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _batchscope_version() -> str:
    """The version with a checksum of the code: a checkout has the number of the last release, whatever was changed."""
    try:
        import batchscope
    except ImportError:
        return "not installed"
    folder, digest = Path(batchscope.__path__[0]), hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return f"{batchscope.__version__} (code {digest.hexdigest()[:8]})"


def _sees_cuda() -> bool:
    with contextlib.suppress(ImportError):
        import torch

        return bool(torch.cuda.is_available())
    return False
