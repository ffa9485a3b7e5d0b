"""The engines of networks trained by autograd, and the choice between them by a short timing.

    one after another   each member takes its step in turn
    in streams          the same, each on a CUDA stream of its own, so that small networks fill the device together
    vectorised          all members in one call: torch.func's vmap over stacked parameters

No rule predicts the fastest (grouped convolutions, which vmap makes, are slow on CPUs), so `make_engine` times three
steps of each, in both memory formats and on CUDA with and without a graph to replay, and `Engine.execution` records
what was chosen.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from batchscope.architectures import Architecture, build
from batchscope.data import Dataset
from batchscope.errors import InputError
from batchscope.training.engine import Engine, Scores
from batchscope.training.modules.losses import per_example
from batchscope.training.modules.network import Examples, Network, storage_dtype
from batchscope.training.parallel import ONE_RANK, Ranks
from batchscope.training.settings import Member, Settings
from batchscope.training.stacked.engine import StackEngine
from batchscope.training.update_rules import UpdateRule, update_rule

ONE_AFTER_ANOTHER, STREAMS, VECTORISED = "one after another", "in streams", "vectorised"
CHANNELS_LAST, REPLAYED = "channels_last", "replayed"
TIMED_STEPS = 3
# A timing is short: at most so many members, and batches cut to so many operations of a step on each kind of device.
TIMED_MEMBERS = 3
TIMED_OPERATIONS = {"cpu": 1e11, "cuda": 1e14}


class ModuleEngine(Engine):
    """Members in turn, or each on a stream of its own."""

    def __init__(
        self,
        modules: Sequence[nn.Module],
        dataset: Dataset,
        settings: Settings,
        members: Sequence[Member],
        device: torch.device,
        ranks: Ranks = ONE_RANK,
        execution: str = ONE_AFTER_ANOTHER,
    ) -> None:
        self.execution = execution
        self._way, *forms = execution.split(", ")
        channels_last, replayed = CHANNELS_LAST in forms, REPLAYED in forms
        examples = Examples.training(dataset, settings, device, channels_last)
        self.examples, self.device = examples, device
        self.heldout = Examples.heldout(dataset, settings, device, channels_last)
        pairs = zip(modules, members, strict=True)
        self.networks = [Network(module, examples, settings, member, ranks, replayed) for module, member in pairs]
        self._streams: list[Any] = []
        if self._way == STREAMS:
            self._streams = [torch.cuda.Stream(device) for _ in modules]  # type: ignore[no-untyped-call]

    def begin_epoch(self, epoch: int) -> None:
        for network in self.networks:
            network.begin_epoch(epoch)

    def step(self, indices: Tensor) -> None:
        batches = indices.expand(len(self.networks), -1)
        for position, (network, batch) in enumerate(zip(self.networks, batches, strict=True)):
            with self._stream(position):
                network.step(batch)
        for stream in self._streams:
            torch.cuda.current_stream(self.device).wait_stream(stream)

    def failures(self) -> dict[int, int]:
        failed = ((position, network.failed_at) for position, network in enumerate(self.networks))
        return {position: step for position, step in failed if step is not None}

    def evaluate(self) -> list[Scores]:
        return [Scores(*network.evaluate(self.examples)) for network in self.networks]

    def heldout_accuracy(self, position: int) -> float:
        return self.networks[position].evaluate(self.heldout)[1] if self.heldout else math.nan

    def bounds(self) -> list[float]:
        return [network.batch_size_bound() for network in self.networks]

    def noise_scales(self) -> list[float | None]:
        return [network.noise.noise_scale() if network.noise else None for network in self.networks]

    def select(self, positions: Sequence[int]) -> None:
        self.networks = [self.networks[position] for position in positions]
        self._streams = self._streams[: len(self.networks)]

    def state(self) -> dict[str, Any]:
        return {"networks": [network.state() for network in self.networks]}

    def load(self, state: Mapping[str, Any]) -> None:
        for network, saved in zip(self.networks, state["networks"], strict=True):
            network.load(saved)

    def _stream(self, position: int) -> contextlib.AbstractContextManager[object]:
        if not self._streams:
            return contextlib.nullcontext()
        stream = self._streams[position]
        stream.wait_stream(torch.cuda.current_stream(self.device))
        return torch.cuda.stream(stream)


class VectorisedEngine(ModuleEngine):
    """All members in one vmapped call. Their modules hold views of the stacked tensors, which the call moves."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._stack(None)

    def step(self, indices: Tensor) -> None:
        shared = indices.dim() == 1
        inputs, targets = self.examples.batch(indices.reshape(-1))
        if not shared:
            inputs, targets = (values.view(*indices.shape, *values.shape[1:]) for values in (inputs, targets))
        batches = None if shared else 0
        call = torch.func.vmap(torch.func.grad_and_value(self._loss), in_dims=(0, 0, batches, batches))
        gradients, losses = call(self._parameters, self._buffers, inputs, targets)
        with torch.no_grad():
            scale = self._scale / indices.shape[-1]
            for name, rule in self._rules.items():
                per_member = (-1, *(1,) * (rule.parameter.dim() - 1))
                rule.take(gradients[name] * scale.view(per_member))
                rule.step(self._step_sizes.view(per_member))
            for network, loss in zip(self.networks, losses, strict=True):
                network.note(loss)

    def select(self, positions: Sequence[int]) -> None:
        super().select(positions)
        self._stack(torch.tensor(positions, device=self.device))

    def state(self) -> dict[str, Any]:
        modules = [network.module.state_dict() for network in self.networks]
        return {"modules": modules, "rules": {name: rule.state() for name, rule in self._rules.items()}}

    @torch.no_grad()
    def load(self, state: Mapping[str, Any]) -> None:
        for network, saved in zip(self.networks, state["modules"], strict=True):
            network.module.load_state_dict(saved)
        for name, rule in self._rules.items():
            rule.load(state["rules"][name])

    def _stack(self, positions: Tensor | None) -> None:
        """Stack the members' tensors and make each module's tensors views of them."""
        modules = [network.module for network in self.networks]
        parameters, buffers = torch.func.stack_module_state(modules)
        self._parameters = {name: tensor.detach() for name, tensor in parameters.items()}
        self._buffers = dict(buffers)
        for index, module in enumerate(modules):
            for name, parameter in module.named_parameters():
                parameter.data = self._parameters[name][index]
            for name, buffer in module.named_buffers():
                buffer.data = self._buffers[name][index]
        settings = self.networks[0].settings
        if positions is None:
            self._rules: dict[str, UpdateRule] = {n: update_rule(settings, p) for n, p in self._parameters.items()}
        else:
            self._rules = {n: rule.select(self._parameters[n], positions, 0) for n, rule in self._rules.items()}
        self._step_sizes = torch.stack([network.step_size for network in self.networks])
        self._scale = next(iter(self._rules.values())).scale(self._step_sizes)
        self._template = copy.deepcopy(modules[0]).to("meta").train()

    def _loss(self, parameters: Any, buffers: Any, inputs: Tensor, targets: Tensor) -> Tensor:
        outputs = torch.func.functional_call(self._template, (parameters, buffers), (inputs,))
        return per_example(outputs, targets).sum()


def make_engine(
    architecture: Architecture,
    dataset: Dataset,
    settings: Settings,
    members: Sequence[Member],
    device: torch.device,
    ranks: Ranks = ONE_RANK,
    execution: str | None = None,
) -> Engine:
    """Return the engine for these members; for networks trained by autograd the one named, or the fastest."""
    if architecture.kind.stacked and ranks.size == 1:
        return StackEngine(architecture, dataset, settings, members, device)
    modules = _initial_modules(architecture, settings, members)
    ways = possible_executions(architecture, settings, len(members), device, ranks)
    if execution is None:
        size = timed_batch_size(architecture, settings, device)
        execution = ways[0] if len(ways) == 1 else fastest(ways, modules, dataset, settings, members, device, size)
    if execution not in ways:
        raise InputError(f"execution {execution!r} is not possible here; expected one of {ways}")
    return _engine(execution, modules, dataset, settings, members, device, ranks)


def possible_executions(
    architecture: Architecture, settings: Settings, num_members: int, device: torch.device, ranks: Ranks
) -> list[str]:
    """Return the ways in which these members can be run, each in both memory formats for images."""
    ways = [ONE_AFTER_ANOTHER]
    if device.type == "cuda" and num_members > 1 and ranks.size == 1:
        ways.append(STREAMS)
    plain = settings.augmentation == "none" and settings.dtype != "bfloat16" and settings.batchnorm_shares == 1
    if num_members > 1 and ranks.size == 1 and plain:
        ways.append(VECTORISED)
    if not architecture.kind.takes_images or ranks.size > 1:
        return ways
    ways = [", ".join(parts) for parts in itertools.product(ways, (CHANNELS_LAST,))] + ways
    recorded = device.type == "cuda" and settings.augmentation == "none"
    return ways + [f"{way}, {REPLAYED}" for way in ways if recorded and not way.startswith(VECTORISED)]


def timed_batch_size(architecture: Architecture, settings: Settings, device: torch.device) -> int:
    """Return the batch size itself where a step of all timed members is short, else as much of it as is."""
    operations = 6 * architecture.multiply_adds * TIMED_MEMBERS
    limit = TIMED_OPERATIONS.get(device.type, TIMED_OPERATIONS["cpu"])
    return max(1, min(settings.batch_size, int(limit / operations)))


def fastest(
    ways: Sequence[str],
    modules: Sequence[nn.Module],
    dataset: Dataset,
    settings: Settings,
    members: Sequence[Member],
    device: torch.device,
    size: int,
) -> str:
    """Time three steps of each way on batches of `size`, on copies, and return the fastest."""
    members = members[:TIMED_MEMBERS]
    shared = len({member.seed for member in members}) == 1
    indices = torch.arange(size, device=device).expand(*(() if shared else (len(members),)), size)
    seconds = {}
    for way in ways:
        copies = [copy.deepcopy(module) for module in modules[:TIMED_MEMBERS]]
        try:
            seconds[way] = _time(_engine(way, copies, dataset, settings, members, device, ONE_RANK), indices, device)
        except RuntimeError:
            if not way.startswith(VECTORISED):
                raise
            # vmap has no rule for some layers in some forms, GroupNorm in channels_last for one: not a way, then.
    return min(seconds, key=lambda way: seconds[way])


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
    execution: str,
    modules: Sequence[nn.Module],
    dataset: Dataset,
    settings: Settings,
    members: Sequence[Member],
    device: torch.device,
    ranks: Ranks,
) -> ModuleEngine:
    kind = VectorisedEngine if execution.startswith(VECTORISED) else ModuleEngine
    return kind(modules, dataset, settings, members, device, ranks, execution)


def _initial_modules(architecture: Architecture, settings: Settings, members: Sequence[Member]) -> list[nn.Module]:
    """Member by member the network of `architectures.build` with the member's seed."""
    dtype = storage_dtype(settings)
    seeds = {member.seed for member in members}
    built = {seed: build(architecture, settings.initialisation, seed, dtype) for seed in seeds}
    return [copy.deepcopy(built[member.seed]) for member in members]
