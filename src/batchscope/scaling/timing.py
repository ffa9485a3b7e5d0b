"""Timing training steps and all-reduces, alone or on several processes at once. The only file here that needs torch."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import os
import signal
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.elastic.multiprocessing.errors import record

from batchscope.errors import RunError
from batchscope.importing import safe_children
from batchscope.scaling.timings import Timings
from batchscope.training.parallel import data_parallel, join, launched

ROUNDS = 15  # everything takes its turn in each; the least counts, as other programs on the machine can only add
CALLS_IN_A_ROW = 10  # on CUDA, where the next call is prepared while the last one runs
LEAST_BYTES = 2**20  # of the larger all-reduce: below, latency hides the bandwidth
SMALL = 1  # numbers in the smaller one
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)

Operation = Callable[[], None]


@dataclass(frozen=True)
class TimingJob:
    """What to time: see `TimeModel.calibrate`."""

    module: nn.Module
    loss: Any
    inputs: Tensor
    targets: Tensor
    local_batches: tuple[int, ...]
    processes: int
    device: str
    seconds: float


def measure(job: TimingJob) -> Timings:
    """Time the job: here if it is of one process or torchrun started this one, else on as many processes as it asks."""
    ranks = launched()
    if ranks is not None:
        return _on_this_rank(job, ranks.size)
    return _alone(job) if job.processes == 1 else _on_new_processes(job)


def _on_new_processes(job: TimingJob) -> Timings:
    """Start torchrun's own launcher with this function's twin as its program."""
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    packed = io.BytesIO()
    torch.save(job, packed)
    try:
        with safe_children(), _own_signals(), _silence() as logs:
            config = LaunchConfig(
                min_nodes=1,
                max_nodes=1,
                nproc_per_node=job.processes,
                run_id=uuid.uuid4().hex,
                rdzv_backend="c10d",
                rdzv_endpoint="localhost:0",
                start_method="spawn",
                max_restarts=0,
                logs_specs=logs,
            )
            found: dict[int, Timings] = elastic_launch(config, _program)(packed.getvalue())
    except ChildFailedError as error:
        raise RunError(f"a process of the calibration died: {error}") from error
    return found[0]


@contextlib.contextmanager
def _silence() -> Iterator[Any]:
    """Where processes write what they say when they are ended; what the launcher says of it is not for the terminal."""
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, Std

    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            yield DefaultLogsSpecs(log_dir=folder, redirects=Std.ERR)
    finally:
        logging.disable(before)


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """The launcher takes the signals that end a program for itself, to end its processes, and never gives them back.

    Once its processes are gone, a signal does here what it would have done without the launcher.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException

    before = {number: signal.getsignal(number) for number in ENDING}
    came: signal.Signals | None = None
    try:
        yield
    except SignalException as error:
        came = error.sigval
    finally:
        if threading.current_thread() is threading.main_thread():  # elsewhere the launcher takes nothing
            for number, handler in before.items():
                signal.signal(number, handler)
    if came is not None:
        signal.raise_signal(came)


@record  # an exception gets into the message of ChildFailedError
def _program(packed: bytes) -> Timings:
    job: TimingJob = torch.load(io.BytesIO(packed), weights_only=False)  # our own, sent a moment ago
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // job.processes))
    return _on_this_rank(job, job.processes)


def _alone(job: TimingJob) -> Timings:
    device = torch.device("cuda" if _wants_cuda(job, 1) else "cpu")
    module = copy.deepcopy(job.module).to(device)
    computing = _timed([_step(job, module, size, device) for size in job.local_batches], job.seconds, device, False)
    return Timings(1, device.type, "none", job.local_batches, computing)


def _on_this_rank(job: TimingJob, processes: int) -> Timings:
    """The same numbers on every rank: each time is that of the slowest."""
    ours = not dist.is_initialized()
    name = "cuda" if _wants_cuda(job, processes) else "cpu"
    device = torch.device(join(name) if ours else name)
    try:
        return _together(job, processes, device)
    finally:
        if ours:
            dist.destroy_process_group()


def _together(job: TimingJob, processes: int, device: torch.device) -> Timings:
    module = data_parallel(copy.deepcopy(job.module).to(device), device, None)
    gradient = sum(p.numel() * p.element_size() for p in module.parameters())
    sizes = 4 * SMALL, max(gradient, LEAST_BYTES)
    computing = [_without_exchange(module, _step(job, module, size, device)) for size in job.local_batches]
    exchanging = [_all_reduce(size, device) for size in sizes]
    steps = [_step(job, module, size, device) for size in job.local_batches[2:4]]
    found = _timed([*computing, *exchanging, *steps], job.seconds, device, True)
    return Timings(
        processes, device.type, dist.get_backend(), job.local_batches, found[:-4], sizes, found[-4:-2], found[-2:]
    )


def _wants_cuda(job: TimingJob, processes: int) -> bool:
    if job.device != "auto":
        return job.device == "cuda"
    return torch.cuda.device_count() >= int(os.environ.get("LOCAL_WORLD_SIZE", processes))


def _step(job: TimingJob, module: nn.Module, size: int, device: torch.device) -> Operation:
    """Forward, backward and update at step size 0, so that the network stays what it is."""
    which = torch.arange(size) % len(job.inputs)
    inputs, targets = job.inputs[which].to(device), job.targets[which].to(device)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.0)

    def step() -> None:
        optimizer.zero_grad()
        job.loss(module(inputs), targets).mean().backward()
        optimizer.step()

    return step


def _without_exchange(module: Any, step: Operation) -> Operation:
    def quiet() -> None:
        with module.no_sync():
            step()

    return quiet


def _all_reduce(size: int, device: torch.device) -> Operation:
    numbers = torch.zeros(size // 4, device=device)

    def exchange() -> None:
        dist.all_reduce(numbers)

    return exchange


def _timed(operations: list[Operation], seconds: float, device: torch.device, together: bool) -> tuple[float, ...]:
    """Seconds of each operation: the least over all its calls on each rank, and of these the largest."""
    for operation in operations:
        operation()  # the first time allocates
    share = seconds / (ROUNDS * len(operations))
    once = _slowest(torch.tensor([_least(operation, 3, device) for operation in operations]), together)
    calls = (share / once.clamp(min=1e-7)).clamp(1, 1000).int().tolist()
    rounds = [[_least(*pair, device) for pair in zip(operations, calls, strict=True)] for _ in range(ROUNDS)]
    least = torch.tensor(rounds, dtype=torch.float64).amin(dim=0)
    return tuple(_slowest(least, together).tolist())


def _least(operation: Operation, calls: int, device: torch.device) -> float:
    """The least mean seconds of a few calls in a row among so many; ranks begin together."""
    if dist.is_initialized():
        dist.barrier()
    in_a_row = CALLS_IN_A_ROW if device.type == "cuda" else 1
    return min(_seconds(operation, in_a_row, device) for _ in range(-(-calls // in_a_row)))


def _seconds(operation: Operation, calls: int, device: torch.device) -> float:
    """Mean seconds of one call."""
    _finish(device)
    start = time.perf_counter()
    for _ in range(calls):
        operation()
    _finish(device)
    return (time.perf_counter() - start) / calls


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _slowest(seconds: Tensor, together: bool) -> Tensor:
    """The largest of every number over the ranks."""
    if together:
        on_device = seconds.cuda() if dist.get_backend() == "nccl" else seconds
        dist.all_reduce(on_device, dist.ReduceOp.MAX)
        seconds = on_device.cpu()
    return seconds
