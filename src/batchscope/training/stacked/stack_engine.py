"""The engine of fully-connected cohorts: all members in one `Stack`, stepped without autograd."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from batchscope.architectures import Architecture, initial_values
from batchscope.data import Dataset
from batchscope.training.cuda_graph import ReplayedStep
from batchscope.training.engine import Engine, Scores
from batchscope.training.execution import STACKED, Execution
from batchscope.training.optimizers import update_rule
from batchscope.training.settings import Member, Settings
from batchscope.training.stacked.batch_size_bounds import batch_size_bounds
from batchscope.training.stacked.net import (
    Stack,
    Workspace,
    accumulate,
    backward,
    evaluation_buffers,
    forward,
    gathered_forward,
)
from batchscope.training.stacked.targets import Targets


class StackEngine(Engine):
    """E fully-connected nets side by side. On CUDA a step is replayed from a graph: its kernels are too small to
    launch one by one."""

    execution = Execution(STACKED)

    def __init__(
        self,
        architecture: Architecture,
        dataset: Dataset,
        settings: Settings,
        members: Sequence[Member],
        device: torch.device,
    ) -> None:
        dtype = getattr(torch, settings.dtype)
        self.settings, self.seeds = settings, [member.seed for member in members]
        self.inputs = torch.as_tensor(dataset.inputs).flatten(1).to(device, dtype)
        self.targets = Targets.of(dataset.targets, dataset.num_classes, device, dtype)
        self.held_out = _heldout(dataset, device, dtype)
        self.stack = initial_stack(architecture, settings, members, device)
        self.rules = {
            name: update_rule(settings, tensor, 1 if "bias" in name else 2) for name, tensor, _ in self.stack.tensors()
        }
        self.step_sizes = torch.tensor([m.step_size for m in members], dtype=dtype, device=device).view(-1, 1, 1)
        self._own_step_sizes = self.step_sizes.clone()
        self._correct = torch.zeros(len(members), dtype=torch.float64, device=device)
        self._seen = 0
        self._prepare()

    def begin_epoch(self, epoch: int) -> None:
        self._correct.zero_()
        self._seen = 0

    def running_accuracies(self) -> list[float]:
        accuracies: list[float] = (self._correct / self._seen).tolist()
        return accuracies

    def scale_step_sizes(self, factor: float) -> None:
        self.step_sizes.copy_(self._own_step_sizes * factor)

    def step(self, indices: Tensor) -> None:
        self._replay(indices)
        self._seen += indices.shape[-1]

    def evaluate(self) -> list[Scores]:
        loss, accuracy = evaluate(self.stack, self.inputs, self.targets)
        nothing = [math.nan] * len(loss)
        heldout_loss, heldout = evaluate(self.stack, *self.held_out) if self.held_out else (nothing, nothing)
        return [Scores(*scores) for scores in zip(loss, accuracy, heldout, heldout_loss, strict=True)]

    def bounds(self) -> list[float]:
        return batch_size_bounds(self.stack, self.inputs, self.targets).tolist()

    def select(self, positions: Sequence[int]) -> None:
        members = torch.tensor(positions, device=self.inputs.device)
        dims = {name: dim for name, _, dim in self.stack.tensors()}
        self.stack = self.stack.select(members)
        chosen = {name: tensor for name, tensor, _ in self.stack.tensors()}
        self.rules = {n: rule.select(chosen[n], members, dims[n]) for n, rule in self.rules.items()}
        self.step_sizes = self.step_sizes.index_select(0, members)
        self._own_step_sizes = self._own_step_sizes.index_select(0, members)
        self._correct = self._correct.index_select(0, members)
        self._prepare()

    def state(self) -> dict[str, Any]:
        parameters = {name: tensor for name, tensor, _ in self.stack.tensors()}
        return {"parameters": parameters, "rules": {name: rule.state() for name, rule in self.rules.items()}}

    def load(self, state: Mapping[str, Any]) -> None:
        for name, tensor, _ in self.stack.tensors():
            tensor.copy_(state["parameters"][name])
            self.rules[name].load(state["rules"][name])

    def _prepare(self) -> None:
        """Drop what was made for another number of members."""
        self.workspaces: dict[int, Workspace] = {}
        self._replay = ReplayedStep(self._step, self.inputs.device)

    def _step(self, indices: Tensor) -> None:
        size = indices.shape[-1]
        work = self.workspaces.get(size) or self.workspaces.setdefault(size, Workspace(self.stack, size))
        inputs = gathered_forward(self.stack, self.inputs, indices, work)
        if self.settings.counts_correct:
            self._correct += self.targets.correct(work.outputs, indices)
        gradient = self.targets.output_gradient(work.outputs, self.targets.rows(indices))
        gradient.mul_(self.rules["first"].scale(self.step_sizes) / size)
        backward(self.stack, gradient, work)
        accumulate(self.rules, inputs, gradient, work)
        for rule in self.rules.values():
            rule.step(self.step_sizes)


def evaluate(stack: Stack, inputs: Tensor, targets: Targets) -> tuple[list[float], list[float]]:
    """Return (mean loss, accuracy) of every member over inputs [n, d]; accuracy is NaN for regression."""
    members, width, d = stack.first.shape
    # Activations of a layer within 1 MiB of float32, and inputs within 2, to stay in the cache of a core.
    chunk = max(64, min(2**18 // (members * width), 2**19 // d))
    layers, outputs = evaluation_buffers(stack, min(chunk, len(inputs)))
    loss = inputs.new_zeros(stack.num_members, dtype=torch.float64)
    correct = torch.zeros_like(loss)
    for start in range(0, len(inputs), chunk):
        batch = inputs[start : start + chunk]
        if len(batch) != outputs.shape[-1]:
            layers, outputs = evaluation_buffers(stack, len(batch))
        sums = targets.evaluate(forward(stack, batch, layers, outputs), start)
        loss += sums[0]
        correct += sums[1]
    return (loss / len(inputs)).tolist(), (correct / len(inputs)).tolist()


def initial_stack(
    architecture: Architecture, settings: Settings, members: Sequence[Member], device: torch.device
) -> Stack:
    """The stacked initial weights: member by member those of `architectures.build` with the member's seed."""
    seeds = [member.seed for member in members]
    draws = {s: initial_values(architecture.parameter_shapes, settings.initialisation, s) for s in set(seeds)}
    stacked = {name: np.stack([draws[seed][name] for seed in seeds]) for name in architecture.parameter_shapes}
    dtype = getattr(torch, settings.dtype)
    weights, biases = ([v for name, v in stacked.items() if name.endswith(kind)] for kind in ("weight", "bias"))
    members_width = (len(seeds), architecture.width)

    def tensor(array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device, dtype)

    return Stack(
        activation=architecture.activation,
        first=tensor(weights[0]),
        hidden=tensor(np.stack(weights[1:-1]) if weights[1:-1] else np.empty((0, *members_width, architecture.width))),
        last=tensor(weights[-1]),
        bias=tensor(np.stack(biases[:-1])[..., None]) if biases else None,
        last_bias=tensor(biases[-1][..., None]) if biases else None,
    )


def _heldout(dataset: Dataset, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Targets] | None:
    if dataset.heldout_inputs is None or dataset.heldout_targets is None:
        return None
    inputs = torch.as_tensor(dataset.heldout_inputs).flatten(1).to(device, dtype)
    return inputs, Targets.of(dataset.heldout_targets, dataset.num_classes, device, dtype)
