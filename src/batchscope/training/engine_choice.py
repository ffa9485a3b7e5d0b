"""Which engines can run a cohort, and the choice between them by a short timing.

No rule predicts the fastest (grouped convolutions, which vmap makes, are slow on CPUs), so `make_engine` times three
steps of each, in both memory formats and on CUDA with and without a graph to replay.
"""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from batchscope.architectures import Architecture, build
from batchscope.data import Dataset
from batchscope.errors import InputError
from batchscope.gradients.subject.failures import is_out_of_memory
from batchscope.training.engine import Engine
from batchscope.training.execution import ONE_AFTER_ANOTHER, STREAMS, VECTORISED, Execution
from batchscope.training.modules.module_engine import ModuleEngine, VectorisedEngine
from batchscope.training.modules.network import storage_dtype
from batchscope.training.parallel import ONE_RANK, Ranks
from batchscope.training.settings import Member, Settings
from batchscope.training.stacked.stack_engine import StackEngine

TIMED_STEPS = 3
# A timing is short: at most so many members, and batches cut to so many operations of a step on each kind of device.
TIMED_MEMBERS = 3
TIMED_OPERATIONS = {"cpu": 1e11, "cuda": 1e14}


def make_engine(
    architecture: Architecture,
    dataset: Dataset,
    settings: Settings,
    members: Sequence[Member],
    device: torch.device,
    ranks: Ranks = ONE_RANK,
    execution: Execution | None = None,
) -> Engine:
    """Return the engine for these members; for networks trained by autograd the one named, or the fastest.

    Raises InputError for an execution that is not possible for them.
    """
    if trains_stacked(architecture, settings, ranks):
        return StackEngine(architecture, dataset, settings, members, device)
    modules = _initial_modules(architecture, settings, members)
    ways = possible_executions(architecture, settings, len(members), device, ranks)
    if execution is None:
        size = timed_batch_size(architecture, settings, device)
        execution = ways[0] if len(ways) == 1 else fastest(ways, modules, dataset, settings, members, device, size)
    if execution not in ways:
        raise InputError(f"execution '{execution}' is not possible here; expected one of {[str(way) for way in ways]}")
    return _engine(execution, modules, dataset, settings, members, device, ranks)


def trains_stacked(architecture: Architecture, settings: Settings, ranks: Ranks) -> bool:
    """Whether a cohort trains as stacked tensors, which know the library's losses only."""
    return architecture.kind.stacked and ranks.size == 1 and not settings.loss and not settings.metric


def mode_of(
    architecture: Architecture, settings: Settings, ranks: Ranks = ONE_RANK
) -> contextlib.AbstractContextManager[object]:
    """The context in which a cohort is made and trained: without autograd where nothing uses it."""
    stacked = trains_stacked(architecture, settings, ranks)
    return torch.inference_mode() if stacked else contextlib.nullcontext()


def possible_executions(
    architecture: Architecture, settings: Settings, num_members: int, device: torch.device, ranks: Ranks
) -> list[Execution]:
    """Return the ways in which these members can be run as modules, each in both memory formats for images."""
    ways = [Execution(ONE_AFTER_ANOTHER, ranks=ranks.size)]
    if ranks.size > 1:
        return ways
    if device.type == "cuda" and num_members > 1:
        ways.append(Execution(STREAMS))
    plain = settings.augmentation == "none" and settings.dtype != "bfloat16" and settings.batchnorm_shares == 1
    if num_members > 1 and plain:
        ways.append(Execution(VECTORISED))
    if not architecture.kind.takes_images:
        return ways
    ways = [replace(way, channels_last=True) for way in ways] + ways
    recorded = device.type == "cuda" and settings.augmentation == "none"
    return ways + [replace(way, replayed=True) for way in ways if recorded and way.kind != VECTORISED]


def timed_batch_size(architecture: Architecture, settings: Settings, device: torch.device) -> int:
    """Return the batch size itself where a step of all timed members is short, else as much of it as is."""
    operations = 6 * architecture.multiply_adds * TIMED_MEMBERS
    limit = TIMED_OPERATIONS.get(device.type, TIMED_OPERATIONS["cpu"])
    return max(1, min(settings.batch_size, int(limit / operations)))


def fastest(
    ways: Sequence[Execution],
    modules: Sequence[nn.Module],
    dataset: Dataset,
    settings: Settings,
    members: Sequence[Member],
    device: torch.device,
    size: int,
) -> Execution:
    """Time three steps of each way on batches of `size`, on copies, and return the fastest of those that can be run.

    Left out are ways for which memory does not suffice, or vmap has no rule. Raises the error of the last way when
    memory suffices for none.
    """
    members = members[:TIMED_MEMBERS]
    shared = len({member.seed for member in members}) == 1
    indices = torch.arange(size, device=device).expand(*(() if shared else (len(members),)), size)
    seconds: dict[Execution, float] = {}
    for way in ways:
        copies = [copy.deepcopy(module) for module in modules[:TIMED_MEMBERS]]
        try:
            seconds[way] = _time(_engine(way, copies, dataset, settings, members, device, ONE_RANK), indices, device)
        except (RuntimeError, MemoryError) as error:
            last = way is ways[-1] and not seconds
            if last or not (is_out_of_memory(error) or _is_missing_rule(way, error)):
                raise
    return min(seconds, key=lambda way: seconds[way])


def _is_missing_rule(way: Execution, error: BaseException) -> bool:
    """Whether vmap cannot batch a layer in this form: GroupNorm in channels_last, for one."""
    return way.kind == VECTORISED and (isinstance(error, NotImplementedError) or "vmap" in str(error))


def _time(engine: Engine, indices: Tensor, device: torch.device) -> float:
    """The fastest of three steps, which other work on the machine disturbs least."""
    engine.begin_epoch(0)
    for _ in range(TIMED_STEPS + 1):  # the first ones choose kernels and, on CUDA, record the graph
        engine.step(indices)
    seconds = []
    for _ in range(TIMED_STEPS):
        _wait(device)
        began = time.perf_counter()
        engine.step(indices)
        _wait(device)
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _engine(
    execution: Execution,
    modules: Sequence[nn.Module],
    dataset: Dataset,
    settings: Settings,
    members: Sequence[Member],
    device: torch.device,
    ranks: Ranks,
) -> ModuleEngine:
    kind = VectorisedEngine if execution.kind == VECTORISED else ModuleEngine
    return kind(modules, dataset, settings, members, device, ranks, execution)


def _initial_modules(architecture: Architecture, settings: Settings, members: Sequence[Member]) -> list[nn.Module]:
    """Member by member the network of `architectures.build` with the member's seed."""
    dtype = storage_dtype(settings)
    seeds = {member.seed for member in members}
    built = {seed: build(architecture, settings.initialisation, seed, dtype) for seed in seeds}
    return [copy.deepcopy(built[member.seed]) for member in members]
