"""The passes of an observed step, and what they add up to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from batchscope.errors import MeasurementError
from batchscope.gradients.backward.collect import Result
from batchscope.gradients.estimands import Moments
from batchscope.gradients.observing.history import GroupMoments, StepMoments
from batchscope.gradients.observing.inside import InsideCapture
from batchscope.gradients.observing.loop_gradients import dense, sq_norm, sq_norms
from batchscope.gradients.observing.replay import Recording
from batchscope.gradients.observing.scale import Scale


@dataclass(eq=False)
class ForwardPass:
    """One observed call of the model.

    told: the factor from the loop's gradients to sums over examples, as the user's `reduction` and `loss_scale` say.
    scale: the factor as derived from what was backpropagated. is_done: whether its backward pass has ended.
    handles: of the hooks on its outputs.
    """

    recording: Recording
    told: float
    is_audited: bool
    capture: InsideCapture | None = None
    scale: Scale | None = None
    is_done: bool = False
    handles: list[Any] = field(default_factory=list)

    @property
    def num_examples(self) -> int:
        """N."""
        return self.recording.batch.num_examples

    def release(self) -> None:
        """Let go of what was kept. An output holds its hook, the hook this record and the record the output: a circle
        through the graph, which Python's garbage collection does not see."""
        for handle in self.handles:
            handle.remove()
        self.handles, self.capture = [], None
        self.recording.outputs, self.recording.gradients = [], {}

    @property
    def factor(self) -> float:
        """What the loop's loss is, times the sum over examples: told by the user, or found in the gradients."""
        return self.told if self.scale is None else self.scale.factor


@dataclass(eq=False)
class BackwardPass:
    """One backward pass of the loop.

    gradients: parameter -> its gradient as the loop got it, private copies. seen: the loop's own tensors with their
    versions, where no copy is needed. sq_norms: of both, once the pass has ended.
    """

    passes: list[ForwardPass]
    gradients: dict[str, Tensor] = field(default_factory=dict)
    seen: dict[str, tuple[Tensor, int]] = field(default_factory=dict)
    sq_norms: dict[str, Tensor] = field(default_factory=dict)

    def add(self, name: str, gradient: Tensor, is_needed: bool) -> None:
        """The gradient of a parameter. is_needed: to be copied."""
        if name in self.seen or (name in self.gradients and not is_needed):
            raise MeasurementError(f"{name!r} got its gradient in several parts")
        if not is_needed:
            self.seen[name] = gradient, gradient._version
        elif name in self.gradients:
            self.gradients[name] += dense(gradient)
        else:
            self.gradients[name] = dense(gradient)

    def finish(self) -> None:
        """Form the squared norms; MeasurementError when a gradient that was not copied has changed meanwhile."""
        for name, (gradient, version) in self.seen.items():
            if gradient._version != version:
                raise MeasurementError(f"the gradient of {name!r} was changed during the backward pass")
        gradients = self.gradients | {name: gradient for name, (gradient, _) in self.seen.items()}
        self.sq_norms = sq_norms(gradients)
        self.seen = {}

    @property
    def factor(self) -> float:
        """That of its forward passes, which have it in common."""
        return self.passes[0].factor

    @property
    def num_examples(self) -> int:
        """N, over all forward passes."""
        return sum(one.num_examples for one in self.passes)


@dataclass(eq=False)
class StepSums:
    """Sums over the backward passes of one step, in units of the per-example loss.

    keeps: whether gradients are kept, as several passes need (Q is of their sum); of a single pass, norms will do.
    """

    keeps: bool
    num_backward: int = 0
    num_examples: int = 0
    norms: dict[str, Tensor] = field(default_factory=dict)
    squares: dict[str, Tensor] = field(default_factory=dict)
    gradients: dict[str, Tensor] = field(default_factory=dict)
    sizes: list[int] = field(default_factory=list)
    group_sq_norms: float = 0.0
    last: ForwardPass | None = None

    def add_gradients(self, backward: BackwardPass) -> None:
        """The loop's gradients of one backward pass."""
        self.num_backward += 1
        self.num_examples += backward.num_examples
        factor = backward.factor
        for name, value in backward.sq_norms.items():
            self.squares[name] = value * factor**2
        for name, gradient in backward.gradients.items():
            if name in self.gradients:
                self.gradients[name].add_(gradient, alpha=factor)
            else:
                self.gradients[name] = gradient.mul_(factor)

    def recover(self, parameters: Mapping[str, Tensor], factor: float) -> None:
        """Take the gradients of the one pass so far from `.grad`, where they still are; MeasurementError if not."""
        for name, square in self.squares.items():
            held = parameters[name].grad
            gradient = None if held is None else dense(held).mul_(factor)
            if gradient is None or not abs(float(sq_norm(gradient)) - float(square)) <= 1e-4 * float(square):
                raise MeasurementError(
                    "a second backward pass came in a step where the first steps had one: its gradients cannot be added"
                )
            self.gradients[name] = gradient
        self.keeps = True

    def add_norms(self, results: Mapping[str, Result], factor: float) -> None:
        """Per-example norms of one forward pass."""
        if not results:
            return
        sums = torch.stack([result.sq_norms.sum(dtype=torch.float64) for result in results.values()]) * factor**2
        for name, value in zip(results, sums.unbind(), strict=True):
            self.norms[name] = self.norms[name] + value if name in self.norms else value

    def add_group(self, backward: BackwardPass) -> None:
        """The backward pass as one group of examples that influence each other."""
        size = backward.num_examples
        total = float(torch.stack(list(backward.sq_norms.values())).sum()) * backward.factor**2
        self.sizes.append(size)
        self.group_sq_norms += total / size
        self.last = backward.passes[-1]

    def sq_norm_sums(self, names: Mapping[str, Tensor]) -> Tensor:
        """Q of every parameter, float64."""
        zero = torch.zeros((), dtype=torch.float64, device=next(iter(names.values())).device)
        if self.num_backward == 1 and not self.gradients:
            return torch.stack([self.squares.get(name, zero) for name in names])
        found = {name: sq_norm(gradient) for name, gradient in self.gradients.items()}
        return torch.stack([found.get(name, zero) for name in names])

    def sum_sq_norms(self, names: Mapping[str, Tensor]) -> Tensor:
        """S1 of every parameter, float64."""
        zero = torch.zeros((), dtype=torch.float64, device=next(iter(names.values())).device)
        return torch.stack([self.norms.get(name, zero) for name in names])


def step_moments(
    num_examples: int, names: Mapping[str, Tensor], norms: Tensor, squares: Tensor, population: float
) -> StepMoments:
    """The moments of a step from S1 and Q of every parameter."""
    parts = {
        name: Moments(num_examples, a, b) for name, a, b in zip(names, norms.tolist(), squares.tolist(), strict=True)
    }
    whole = Moments.add(num_examples, parts.values())
    return StepMoments(num_examples, whole.sum_sq_norms, whole.sq_norm_sum, by_parameter=parts, population=population)


def group_moments(
    sizes: list[int], group_sq_norms: float, squares: Tensor, population: float, source: str
) -> GroupMoments:
    """The moments of a step of groups."""
    return GroupMoments(
        sum(sizes),
        math.nan,
        float(squares.sum()),
        population=population,
        sizes=tuple(sizes),
        group_sq_norms=group_sq_norms,
        source=source,
    )
