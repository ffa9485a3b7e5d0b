"""Cohorts on a cluster, by Ray Core: one actor per CPU or part of a GPU, one cohort at a time on each.

The driver, this process, hands out cohorts to whichever actor is free, hears of epochs and states on the way, and
alone writes results. Data travel through Ray's object store, once to each node, and the user's own code with each
cohort: workers read no files.
An actor that dies is replaced; its cohort goes on from its last state, on whichever actor is free first.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import time
from collections import deque
from pathlib import Path
from typing import Any

from batchscope.errors import BatchscopeError, InputError, RunError, StoreError, choose
from batchscope.own_code import files_of
from batchscope.running import provenance
from batchscope.running.devices import DEVICES
from batchscope.running.executors import ray_actor
from batchscope.running.executors.base import MAX_ATTEMPTS, Executor, ExecutorOptions
from batchscope.running.executors.ray_cluster import connected, import_ray
from batchscope.running.job import Finished, Job, OnProgress
from batchscope.running.work import data_checksum, explain
from batchscope.studies.dataset import DataRequest, load_data

# Where the states of unfinished cohorts go: to the driver, which writes them, or from workers straight into a
# directory that all machines see.
CHECKPOINTS = ("driver", "directory")
MAX_FAILED_STARTS = 3  # of actors, one after another
# Seconds without a single worker until the run gives up: a cluster that grows on demand takes minutes.
START_TIMEOUT = 300.0


@dataclasses.dataclass
class _Attempt:
    """A job, how often it was begun before, and when it was begun last."""

    job: Job
    failed: int = 0
    began: float = 0.0


@dataclasses.dataclass
class _Place:
    """One actor. node: its address once it has greeted, "" before. awaited: its greeting or the messages of its
    attempt; None while it is idle. holds: checksums of the data it keeps."""

    actor: Any
    awaited: Any
    node: str = ""
    attempt: _Attempt | None = None
    holds: tuple[str, ...] = ()


class RayExecutor(Executor):
    """See the module. Raises InputError where Ray is missing, a cluster cannot be joined or has other versions."""

    def __init__(self, options: ExecutorOptions) -> None:
        self._states_travel = choose("checkpoints", options.checkpoints or CHECKPOINTS[0], CHECKPOINTS) == "driver"
        self._queue: deque[_Attempt] = deque()
        self._places: list[_Place] = []
        self._shipped: dict[DataRequest, tuple[Any, str]] = {}
        self._code: dict[str, dict[str, bytes]] = {}
        self._failed_starts = 0
        with contextlib.ExitStack() as stack:
            stack.enter_context(connected(options))
            self._ray = import_ray()
            self._ray.cloudpickle.register_pickle_by_value(ray_actor)
            self._expected = ray_actor.installed(provenance.PACKAGES)
            self.capacity, self.device, share = _room(self._ray.cluster_resources(), options)
            self._actors = self._ray.remote(max_restarts=0, **share)(ray_actor.CohortActor)
            stack.callback(self._end_actors)
            self._places = [_Place(*self._new_actor()) for _ in range(self.capacity)]
            while not any(place.node for place in self._places):
                self._greet(self._next_place())
            self._resources = stack.pop_all()

    @property
    def running(self) -> int:
        return len(self._queue) + sum(place.attempt is not None for place in self._places)

    def start(self, job: Job) -> None:
        self._queue.append(_Attempt(job))
        self._hand_out()

    def wait(self, on_progress: OnProgress) -> Finished:
        while True:
            self._hand_out()
            place = self._next_place()
            if place.attempt is None:
                self._greet(place)
            elif finished := self._hear(place, place.attempt, on_progress):
                return finished

    def close(self) -> None:
        self._queue.clear()
        self._resources.close()

    def _end_actors(self) -> None:
        for place in self._places:
            self._end_actor(place)
        self._places = []

    def _end_actor(self, place: _Place) -> None:
        with contextlib.suppress(self._ray.exceptions.RayError):
            self._ray.kill(place.actor)

    def _new_actor(self) -> tuple[Any, Any]:
        """(an actor, its greeting to come)."""
        actor = self._actors.remote(self.device, os.getcwd())
        return actor, actor.greet.remote(provenance.PACKAGES)

    def _next_place(self) -> _Place:
        """Wait until some actor has something to say."""
        places = [place for place in self._places if place.awaited is not None]
        seconds = None if any(place.node for place in self._places) else START_TIMEOUT
        ready, _ = self._ray.wait([place.awaited for place in places], timeout=seconds)
        if not ready:
            raise RunError(
                f"no worker could be started within {START_TIMEOUT:.0f} s: the cluster has "
                f"{_listed(self._ray.cluster_resources())}, of which {_listed(self._ray.available_resources())} is free"
            )
        return next(place for place in places if place.awaited == ready[0])

    def _greet(self, place: _Place) -> None:
        """Take an actor in that has started, or start another in its place."""
        try:
            node, versions, has_device = self._ray.get(place.awaited)
        except self._ray.exceptions.RayError as error:
            self._failed_starts += 1
            if self._failed_starts >= MAX_FAILED_STARTS:
                raise RunError(f"no worker could be started, {self._failed_starts} times: {_reason(error)}") from error
            self._end_actor(place)  # or it would keep the room that the next one needs
            place.actor, place.awaited = self._new_actor()
            return
        _refuse_others(node, versions, self._expected)
        if not has_device:
            raise InputError(f"PyTorch on {node} sees no CUDA device, though Ray lent it one; use --device cpu")
        self._failed_starts = 0
        place.node, place.awaited = node, None

    def _hand_out(self) -> None:
        """Begin what waits on the actors that are free."""
        for place in self._places:
            if self._queue and place.node and place.attempt is None:
                self._begin(place, self._queue.popleft())

    def _begin(self, place: _Place, attempt: _Attempt) -> None:
        data, checksum = self._ship(attempt.job.data)
        if checksum in place.holds:
            data = None  # a reference would cost more than a trivial cohort
        else:
            place.holds = ray_actor.latest(place.holds, checksum)
        job, state = self._outgoing(attempt.job)
        attempt.began = time.perf_counter()
        code = self._code_of(job)
        place.attempt, place.awaited = attempt, place.actor.train.remote(job, data, checksum, state, code)

    def _ship(self, request: DataRequest) -> tuple[Any, str]:
        """Put data into the object store, from which each node fetches them once."""
        if request not in self._shipped:
            dataset = load_data(request)
            self._shipped[request] = self._ray.put(dataset), data_checksum(dataset)
        return self._shipped[request]

    def _code_of(self, job: Job) -> dict[str, bytes]:
        """Path -> content of the user's own code that a cohort runs; the worker knows it again by its hash."""
        for name, what in job.own_code.items():
            if name not in self._code:
                self._code[name] = files_of(name, what)
        return {path: content for name in job.own_code for path, content in self._code[name].items()}

    def _outgoing(self, job: Job) -> tuple[Job, bytes | None]:
        """(the job as the worker gets it, the state it goes on from)."""
        if job.checkpoint is None:
            return job, None
        path = Path(job.checkpoint)
        if not self._states_travel:
            return dataclasses.replace(job, checkpoint=str(path.absolute())), None
        return dataclasses.replace(job, checkpoint=None), _kept(path)

    def _hear(self, place: _Place, attempt: _Attempt, on_progress: OnProgress) -> Finished | None:
        """Take one message of a busy actor; return its job's end, if this is it."""
        errors = self._ray.exceptions
        try:
            kind, *content = self._ray.get(next(place.awaited))
        except errors.RayTaskError as error:
            if isinstance(error.cause, BatchscopeError):  # not the cohort's fault: the next would fare alike
                raise error.cause from None
            kind, content = "end", [None, time.perf_counter() - attempt.began, explain(error.cause)]
        except (errors.RayError, StopIteration) as error:
            return self._replace(place, attempt, f"the worker on {place.node} died: {_reason(error)}")
        if kind == "epoch":
            on_progress(attempt.job, *content)
        elif kind == "state":
            _keep(attempt.job, *content)
        else:
            place.attempt = place.awaited = None
            return Finished(attempt.job, *content)
        return None

    def _replace(self, place: _Place, attempt: _Attempt, message: str) -> Finished | None:
        """Go on after an actor's end: its job is begun again before all others, or returned as crashed."""
        self._end_actor(place)
        place.actor, place.awaited = self._new_actor()
        place.node, place.attempt, place.holds = "", None, ()
        attempt.failed += 1
        if attempt.failed < MAX_ATTEMPTS:
            self._queue.appendleft(attempt)
            return None
        return Finished(attempt.job, None, time.perf_counter() - attempt.began, f"{message}, {attempt.failed} times")


def _room(resources: dict[str, float], options: ExecutorOptions) -> tuple[int, str, dict[str, float]]:
    """(workers, "cpu" or "cuda", what Ray shall keep for each worker) in a cluster with these resources."""
    gpus, cpus = int(resources.get("GPU", 0)), int(resources.get("CPU", 0))
    device = choose("device", options.device, DEVICES)
    if device == "cuda" and not gpus:
        raise InputError(f"device 'cuda' was asked for, but the cluster has {_listed(resources)}; use cpu or auto")
    if device == "cpu" or not gpus:
        return options.workers or max(1, cpus), "cpu", {"num_cpus": 1}
    workers = options.workers or gpus
    return workers, "cuda", {"num_cpus": 0, "num_gpus": _share(workers, gpus)}


def _share(workers: int, gpus: int) -> float:
    """The part of a GPU for each worker, in the steps of 1/10000 that Ray knows.

    >>> _share(2, 4), _share(8, 2), _share(7, 2), _share(3, 1)
    (1.0, 0.25, 0.25, 0.3333)
    """
    on_each = -(-workers // gpus)
    return 10_000 // on_each / 10_000


def _listed(resources: dict[str, float]) -> str:
    return f"{resources.get('CPU', 0):g} CPUs and {resources.get('GPU', 0):g} GPUs"


def _refuse_others(node: str, found: dict[str, str], expected: dict[str, str]) -> None:
    """Raise InputError for a worker whose numbers might be others."""
    differing = [name for name in expected if found.get(name) != expected[name]]
    if differing:
        there, here = (
            ", ".join(f"{name} {versions.get(name)}" for name in differing) for versions in (found, expected)
        )
        raise InputError(
            f"the worker on {node} has {there}, but this process {here}; install the same on all machines, so that all "
            "train the same numbers"
        )


def _reason(error: BaseException) -> str:
    """What a person needs of Ray's many lines."""
    text = " ".join(str(error).split())
    detail = re.search(r"Worker exit type: (\w+) Worker exit detail: (.*?\.)(?: There are| Some common|$)", text)
    if detail:
        return f"{detail[1]}, {detail[2].rstrip('.')}"
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__


def _kept(path: Path) -> bytes | None:
    """The state in a file, if there is a whole one; a damaged one is set aside here, where its cohort's results are."""
    if not path.is_file():
        return None
    from batchscope.training.checkpoint import read_whole

    return read_whole(path)


def _keep(job: Job, state: bytes) -> None:
    """Write a state that a worker sent where the job's checkpoint is, as a whole."""
    assert job.checkpoint is not None
    path = Path(job.checkpoint)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(state)
        partial.replace(path)
    except OSError as error:
        raise StoreError(
            f"{path.parent} cannot be written: {error.strerror}; expected write permission and free space"
        ) from None
