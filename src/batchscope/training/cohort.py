"""Cohorts: all members of one architecture and batch size trained together, each exactly as it would be alone.

Members with one seed (the grid of step sizes) share initial weights and batches; members with different seeds have
their own. A member that meets the target or diverges leaves the cohort, and the rest go on without it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from batchscope.architectures import Architecture, initial_values
from batchscope.data import Dataset, epoch_order
from batchscope.errors import InputError
from batchscope.records import Evaluation, Outcome
from batchscope.training.diversity import batch_size_bounds
from batchscope.training.losses import Targets
from batchscope.training.settings import Member, MemberResult, Settings
from batchscope.training.stack import Stack, Workspace, accumulate, backward, evaluation_buffers, forward
from batchscope.training.update_rules import update_rule

OnEpoch = Callable[[int, int], None]


def train_cohort(
    architecture: Architecture,
    dataset: Dataset,
    settings: Settings,
    members: Sequence[Member],
    *,
    device: str = "cpu",
    on_epoch: OnEpoch | None = None,
) -> list[MemberResult]:
    """Train every member until it meets the target, diverges, or has seen the data `settings.max_epochs` times.

    Args:
        architecture: a fully-connected network with as many inputs and outputs as the data set.
        members: step size and seed of each run.
        device: "cpu", "cuda", "cuda:1", ...
        on_epoch: called after each epoch with (epochs done, members still running).

    Returns:
        One result per member, in the order given. A member's numbers do not depend, up to rounding, on its company.

    Raises:
        InputError: no members, a batch larger than the data, or an architecture that does not fit the data.
    """
    _check(architecture, dataset, settings, members)
    with torch.inference_mode():
        cohort = Cohort(architecture, dataset, settings, members, torch.device(device))
        cohort.evaluate(epoch=0.0, step=0)
        for epoch in range(settings.max_epochs):
            if not cohort.running:
                break
            cohort.train_epoch(epoch)
            if on_epoch:
                on_epoch(epoch + 1, len(cohort.running))
    return cohort.results()


class Cohort:
    """The running members: their stacked parameters, update rules and histories."""

    def __init__(
        self,
        architecture: Architecture,
        dataset: Dataset,
        settings: Settings,
        members: Sequence[Member],
        device: torch.device,
    ) -> None:
        dtype = getattr(torch, settings.dtype)
        self.settings, self.members = settings, list(members)
        self.running = list(range(len(members)))
        self.histories: list[list[Evaluation]] = [[] for _ in members]
        self.reached: dict[int, Evaluation] = {}
        self.diverged: set[int] = set()
        self.inputs = torch.as_tensor(dataset.inputs).flatten(1).to(device, dtype)
        self.targets = _targets(dataset, device, dtype)
        self.heldout = _heldout(dataset, device, dtype)
        self.stack = initial_stack(architecture, settings, members, device)
        self.rules = {name: update_rule(settings, tensor) for name, tensor, _ in self.stack.tensors()}
        self.step_sizes = torch.tensor([m.step_size for m in members], dtype=dtype, device=device).view(-1, 1, 1)
        self.workspaces: dict[int, Workspace] = {}

    @property
    def shares_batches(self) -> bool:
        return len({member.seed for member in self.members}) == 1

    def train_epoch(self, epoch: int) -> None:
        """One pass over the data, with its evaluations; stops early when no member is left."""
        n, batch_size = len(self.inputs), self.settings.batch_size
        steps = math.ceil(n / batch_size)
        checks = {math.ceil(steps * k / self.settings.evaluations_per_epoch): k for k in self._evaluations()}
        order = self.order(epoch)
        for step in range(1, steps + 1):
            self.train_step(order[..., (step - 1) * batch_size : step * batch_size])
            if step in checks:
                before = len(self.running)
                self.evaluate(epoch + step / steps, epoch * steps + step)
                if not self.running:
                    return
                if len(self.running) < before:
                    order = self.order(epoch)

    def train_step(self, indices: Tensor) -> None:
        """One update of every member. indices: [B] shared, or [E, B]."""
        size = indices.shape[-1]
        work = self.workspaces.get(size) or self.workspaces.setdefault(size, Workspace(self.stack, size))
        inputs = work.gather(self.inputs, indices)
        outputs = forward(self.stack, inputs, work.h_layers, work.outputs)
        gradient = self.targets.output_gradient(outputs, self.targets.rows(indices))
        gradient.mul_(self.rules["first"].scale(self.step_sizes) / size)
        backward(self.stack, gradient, work)
        accumulate(self.rules, inputs, gradient, work)
        for rule in self.rules.values():
            rule.step(self.step_sizes)

    def evaluate(self, epoch: float, step: int) -> None:
        """Check every running member on the full training set; let go of those that are done."""
        loss, accuracy = evaluate(self.stack, self.inputs, self.targets)
        heldout = evaluate(self.stack, *self.heldout)[1] if self.heldout else [math.nan] * len(loss)
        every = self.settings.diversity_every
        bounds: Sequence[float | None] = [None] * len(loss)
        if every and epoch % every == 0:
            bounds = batch_size_bounds(self.stack, self.inputs, self.targets).tolist()
        done = []
        for position, member in enumerate(self.running):
            state = Evaluation(epoch, step, loss[position], accuracy[position], heldout[position], bounds[position])
            self.histories[member].append(state)
            if self._ends(member, state):
                done.append(position)
        if done:
            self._release(done)

    def results(self) -> list[MemberResult]:
        return [self._result(index) for index in range(len(self.members))]

    def _evaluations(self) -> range:
        return range(1, self.settings.evaluations_per_epoch + 1)

    def order(self, epoch: int) -> Tensor:
        seeds = [self.members[index].seed for index in self.running]
        n, sampling = len(self.inputs), self.settings.sampling
        if self.shares_batches:
            order = epoch_order(n, seeds[0], epoch, sampling)
        else:
            order = np.stack([epoch_order(n, seed, epoch, sampling) for seed in seeds])
        return torch.from_numpy(order).to(self.inputs.device)

    def _ends(self, member: int, state: Evaluation) -> bool:
        if not math.isfinite(state.train_loss):
            self.diverged.add(member)
            return True
        if (
            state.step
            and member not in self.reached
            and self.settings.target.met(state.train_loss, state.train_accuracy)
        ):
            self.reached[member] = state
        return member in self.reached and self.settings.stop_at_target

    def _release(self, done: list[int]) -> None:
        kept = [position for position in range(len(self.running)) if position not in done]
        self.running = [self.running[position] for position in kept]
        if not kept:
            return
        members = torch.tensor(kept, device=self.inputs.device)
        dims = {name: dim for name, _, dim in self.stack.tensors()}
        self.stack = self.stack.select(members)
        chosen = {name: tensor for name, tensor, _ in self.stack.tensors()}
        self.rules = {n: rule.select(chosen[n], members, dims[n]) for n, rule in self.rules.items()}
        self.step_sizes = self.step_sizes.index_select(0, members)
        self.workspaces.clear()

    def _result(self, index: int) -> MemberResult:
        history, reached = tuple(self.histories[index]), self.reached.get(index)
        if index in self.diverged:
            message = f"training loss {history[-1].train_loss} at epoch {history[-1].epoch:g}"
            return MemberResult(self.members[index], Outcome.DIVERGED, None, None, history, message)
        if reached is None:
            return MemberResult(self.members[index], Outcome.CENSORED, None, None, history)
        return MemberResult(self.members[index], Outcome.REACHED, reached.epoch, reached.step, history)


def evaluate(stack: Stack, inputs: Tensor, targets: Targets) -> tuple[list[float], list[float]]:
    """Return (mean loss, accuracy) of every member over inputs [n, d]; accuracy is NaN for regression."""
    chunk = max(64, 2**18 // (stack.num_members * stack.first.shape[1]))  # activations of a layer within 1 MiB
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


def _targets(dataset: Dataset, device: torch.device, dtype: torch.dtype) -> Targets:
    return _as_targets(dataset.targets, dataset.num_classes, device, dtype)


def _heldout(dataset: Dataset, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Targets] | None:
    if dataset.heldout_inputs is None or dataset.heldout_targets is None:
        return None
    inputs = torch.as_tensor(dataset.heldout_inputs).flatten(1).to(device, dtype)
    return inputs, _as_targets(dataset.heldout_targets, dataset.num_classes, device, dtype)


def _as_targets(values: np.ndarray, num_classes: int | None, device: torch.device, dtype: torch.dtype) -> Targets:
    tensor = torch.as_tensor(values).to(device)
    if num_classes is None:
        return Targets(tensor.to(dtype), None)
    return Targets(torch.nn.functional.one_hot(tensor, num_classes).to(dtype), tensor)


def _check(architecture: Architecture, dataset: Dataset, settings: Settings, members: Sequence[Member]) -> None:
    if not members:
        raise InputError("a cohort has no members; expected at least one step size and seed")
    if settings.batch_size > dataset.num_examples:
        raise InputError(
            f"batch size {settings.batch_size} is larger than the data set {dataset.name!r} ({dataset.num_examples} "
            "examples); choose batch sizes up to that number"
        )
    if (architecture.d_in, architecture.d_out) != (dataset.d_in, dataset.d_out):
        raise InputError(
            f"{architecture.label} takes {architecture.d_in} numbers to {architecture.d_out}, but {dataset.name!r} has "
            f"{dataset.d_in} per example and {dataset.d_out} outputs; solve the shape for this data set"
        )
