"""The engines of networks trained by autograd.

one after another   each member takes its step in turn
in streams          the same, each on a CUDA stream of its own, so that small networks fill the device together
vectorised          all members in one call: torch.func's vmap over stacked parameters
"""

from __future__ import annotations

import contextlib
import copy
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from batchscope.data import Dataset
from batchscope.training.engine import Engine, Scores
from batchscope.training.execution import ONE_AFTER_ANOTHER, STREAMS, Execution
from batchscope.training.modules.network import Examples, Network
from batchscope.training.modules.scoring import num_correct
from batchscope.training.optimizers import update_rule
from batchscope.training.optimizers.rule import UpdateRule
from batchscope.training.parallel import ONE_RANK, Ranks
from batchscope.training.settings import Member, Settings


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
        execution: Execution = Execution(ONE_AFTER_ANOTHER),  # noqa: B008 # frozen
    ) -> None:
        self.execution = execution
        examples = Examples.training(dataset, settings, device, execution.channels_last)
        self.examples, self.device = examples, device
        self.held_out = Examples.heldout(dataset, settings, device, execution.channels_last)
        pairs = zip(modules, members, strict=True)
        self.networks = [
            Network(module, examples, settings, member, ranks, execution.replayed) for module, member in pairs
        ]
        self._streams: list[Any] = []
        self._seen = 0
        if execution.kind == STREAMS:
            self._streams = [torch.cuda.Stream(device) for _ in modules]  # type: ignore[no-untyped-call]

    def begin_epoch(self, epoch: int) -> None:
        for network in self.networks:
            network.begin_epoch(epoch)
        self._seen = 0

    def running_accuracies(self) -> list[float]:
        return [network.correct / self._seen for network in self.networks]

    def scale_step_sizes(self, factor: float) -> None:
        for network in self.networks:
            network.scale_step_size(factor)

    def step(self, indices: Tensor) -> None:
        self._seen += indices.shape[-1]
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
        return [self._scores(position) for position in range(len(self.networks))]

    def heldout(self, position: int) -> tuple[float, float]:
        if self.held_out is None:
            return math.nan, math.nan
        loss, accuracy, _ = self.networks[position].evaluate(self.held_out)
        return accuracy, loss

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

    def _scores(self, position: int) -> Scores:
        """Held-out examples are looked at each time only where they are the target."""
        network = self.networks[position]
        loss, accuracy, metric = network.evaluate(self.examples)
        looked = network.settings.target.metric == "heldout_loss"
        heldout = self.heldout(position) if looked else (math.nan, math.nan)
        return Scores(loss, accuracy, *heldout, metric)

    def _stream(self, position: int) -> contextlib.AbstractContextManager[object]:
        if not self._streams:
            return contextlib.nullcontext()
        stream = self._streams[position]
        stream.wait_stream(torch.cuda.current_stream(self.device))
        return torch.cuda.stream(stream)


class VectorisedEngine(ModuleEngine):
    """All members in one vmapped call. Their modules hold views of the stacked tensors, which the call moves."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        # Ways are timed before one is chosen, so an operation that vmap runs member by member is no news to the user.
        warnings.filterwarnings("ignore", message="There is a performance drop because we have not yet implemented")
        super().__init__(*arguments, **options)
        self._stack(None)

    def scale_step_sizes(self, factor: float) -> None:
        self._step_sizes.copy_(self._own_step_sizes * factor)

    def step(self, indices: Tensor) -> None:
        self._seen += indices.shape[-1]
        shared = indices.dim() == 1
        inputs, targets = self.examples.batch(indices.reshape(-1))
        if not shared:
            inputs, targets = (values.view(*indices.shape, *values.shape[1:]) for values in (inputs, targets))
        batches = None if shared else 0
        call = torch.func.vmap(torch.func.grad_and_value(self._loss, has_aux=True), in_dims=(0, 0, batches, batches))
        gradients, (losses, correct) = call(self._parameters, self._buffers, inputs, targets)
        with torch.no_grad():
            scale = self._scale / indices.shape[-1]
            for name, rule in self._rules.items():
                per_member = (-1, *(1,) * (rule.parameter.dim() - 1))
                rule.take(gradients[name] * scale.view(per_member))
                rule.step(self._step_sizes.view(per_member))
            for network, loss, right in zip(self.networks, losses, correct, strict=True):
                network.note(loss)
                network.count(right)

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
            self._rules: dict[str, UpdateRule] = {
                n: update_rule(settings, p, p.dim() - 1) for n, p in self._parameters.items()
            }
        else:
            self._rules = {n: rule.select(self._parameters[n], positions, 0) for n, rule in self._rules.items()}
        self._step_sizes = torch.stack([network.step_size for network in self.networks])
        self._own_step_sizes = self._step_sizes.clone()
        self._scale = next(iter(self._rules.values())).scale(self._step_sizes)
        self._template = copy.deepcopy(modules[0]).to("meta").train()

    def _loss(self, parameters: Any, buffers: Any, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        outputs = torch.func.functional_call(self._template, (parameters, buffers), (inputs,))
        loss = self.networks[0].criterion.loss(outputs, targets).sum()
        counted = self.networks[0].settings.counts_correct
        return loss, num_correct(outputs, targets) if counted else torch.zeros_like(loss, dtype=torch.float64)
