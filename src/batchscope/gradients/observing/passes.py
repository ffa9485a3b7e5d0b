"""The passes of an observed step, and what they add up to."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from batchscope.errors import MeasurementError
from batchscope.gradients.backward.collect import Result
from batchscope.gradients.observing.inside import InsideCapture
from batchscope.gradients.observing.loop_gradients import dense, sq_norm, sq_norms
from batchscope.gradients.observing.loss_forms import Scale
from batchscope.gradients.observing.replay import Recording

SAME_SCALE = 1e-5  # relative, of scales that are found in gradients


@dataclass(eq=False)
class ForwardPass:
    """One observed call of the model.

    told: the factor from the loop's gradients to sums over examples, as the user's `reduction` and `loss_scale` say.
    scale: the factor as derived from what was backpropagated. is_done: whether its backward pass has ended.
    handles: of the hooks on its outputs. row_sums: parameters and
    S1 of each, unscaled, of those for which no result was made.
    """

    recording: Recording
    told: float
    is_audited: bool
    capture: InsideCapture | None = None
    scale: Scale | None = None
    is_done: bool = False
    row_sums: tuple[tuple[str, ...], Tensor] | None = None
    handles: list[Any] = field(default_factory=list)

    @property
    def num_examples(self) -> int:
        """N."""
        return self.recording.batch.num_examples

    @property
    def needs_gradients(self) -> bool:
        """Whether the loop's gradients are needed beside its norms, to compare with."""
        return self.is_audited or self.capture is None

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
    versions, where no copy is needed. reached: the parameters of both, and squares: their squared norms, float64 in the
    same order, once the pass has ended.
    """

    passes: list[ForwardPass]
    gradients: dict[str, Tensor] = field(default_factory=dict)
    seen: dict[str, tuple[Tensor, int]] = field(default_factory=dict)
    reached: tuple[str, ...] = ()
    squares: Tensor | None = None

    def take(self, gradients: Mapping[str, Tensor], is_needed: bool) -> None:
        """All gradients at once, after the pass. is_needed: to be copied."""
        if is_needed:
            self.gradients = {name: dense(gradient) for name, gradient in gradients.items()}
        else:
            self.seen = {name: (gradient, gradient._version) for name, gradient in gradients.items()}

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
        self.reached, self.seen = tuple(gradients), {}
        if gradients:
            self.squares = sq_norms(gradients.values())

    @property
    def sq_norms(self) -> dict[str, Tensor]:
        """Parameter -> its squared norm."""
        return {} if self.squares is None else dict(zip(self.reached, self.squares.unbind(), strict=True))

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

    names: all parameters. keeps: whether gradients are kept, as several passes need (Q is of their sum); of a single
    pass, norms will do. is_distributed: whether ranks have sums of their own. norms: S1 of every parameter; squares: Q
    of every parameter of the last pass; float64. loop: the sums of the loop's gradients as they are, unscaled, where
    they are asked for. is_even: whether all passes have the same scale.
    """

    names: tuple[str, ...]
    keeps: bool
    is_distributed: bool = False
    num_backward: int = 0
    num_examples: int = 0
    norms: Tensor | None = None
    squares: Tensor | None = None
    gradients: dict[str, Tensor] = field(default_factory=dict)
    loop: dict[str, Tensor] | None = None
    factor: float | None = None
    is_even: bool = True
    sizes: list[int] = field(default_factory=list)
    group_sq_norms: float = 0.0
    last: ForwardPass | None = None

    def add_gradients(self, backward: BackwardPass) -> None:
        """The loop's gradients of one backward pass."""
        self.num_backward += 1
        self.num_examples += backward.num_examples
        factor = backward.factor
        assert backward.squares is not None
        self.squares = self._aligned(backward.reached, backward.squares * factor**2)
        self.is_even &= self.factor is None or math.isclose(factor, self.factor, rel_tol=SAME_SCALE)
        self.factor = factor
        gradients, backward.gradients = backward.gradients, {}
        if self.loop is not None:
            _add(self.loop, {name: g.clone() for name, g in gradients.items()} if self.keeps else gradients, 1.0)
        if self.keeps:
            _add(self.gradients, gradients, factor)

    def _aligned(self, names: tuple[str, ...], values: Tensor) -> Tensor:
        """The values of some parameters among those of all; the others' are 0."""
        if names == self.names:
            return values
        index = _index(names, self.names).to(values.device)
        return values.new_zeros(len(self.names)).index_copy_(0, index, values)

    def reached(self) -> list[str]:
        """Parameters whose gradient was not zero in the last pass."""
        squares = [] if self.squares is None else self.squares.tolist()
        return [name for name, square in zip(self.names, squares, strict=False) if square > 0]

    def recover(self, parameters: Mapping[str, Tensor], factor: float) -> None:
        """Take the gradients of the one pass so far from `.grad`, where they still are; MeasurementError if not."""
        squares = [] if self.squares is None else self.squares.tolist()
        for name, square in zip(self.names, squares, strict=False):
            held = parameters[name].grad
            gradient = None if held is None else dense(held).mul_(factor)
            if square == 0:
                continue
            if gradient is None or not abs(float(sq_norm(gradient)) - square) <= 1e-4 * square:
                raise MeasurementError(
                    "a second backward pass came in a step where the first steps had one: its gradients cannot be added"
                )
            self.gradients[name] = gradient
        self.keeps = True

    def add_norms(self, results: Mapping[str, Result], factor: float) -> None:
        """Per-example norms of one forward pass."""
        if results:
            self.add_sums(tuple(results), _sums_of([result.sq_norms for result in results.values()]), factor)

    def add_sums(self, names: tuple[str, ...], values: Tensor, factor: float) -> None:
        """S1 of some parameters, of one forward pass, float64."""
        sums = self._aligned(names, values * factor**2)
        self.norms = sums if self.norms is None else self.norms + sums

    def add_group(self, backward: BackwardPass) -> None:
        """The backward pass as one group of examples that influence each other."""
        size = backward.num_examples
        assert backward.squares is not None
        total = float(backward.squares.sum()) * backward.factor**2
        self.sizes.append(size)
        self.group_sq_norms += total / size
        self.last = backward.passes[-1]

    def sq_norm_sums(self) -> Tensor:
        """Q of every parameter, float64."""
        if self.num_backward == 1 and not self.gradients and self.squares is not None:
            return self.squares
        found = sq_norms(self.gradients.values())
        return self._aligned(tuple(self.gradients), found)

    def sum_sq_norms(self) -> Tensor:
        """S1 of every parameter, float64."""
        assert self.squares is not None
        return torch.zeros_like(self.squares) if self.norms is None else self.norms


def _add(sums: dict[str, Tensor], gradients: Mapping[str, Tensor], factor: float) -> None:
    """Add factor * gradients to sums that may not be there yet. Takes the gradients over, and changes them."""
    for name, gradient in gradients.items():
        if name in sums:
            sums[name].add_(gradient, alpha=factor)
        else:
            sums[name] = gradient.mul_(factor)


@functools.lru_cache(maxsize=64)
def _index(names: tuple[str, ...], among: tuple[str, ...]) -> Tensor:
    """The places of some names among others."""
    places = {name: place for place, name in enumerate(among)}
    return torch.tensor([places[name] for name in names])


def _sums_of(norms: Sequence[Tensor]) -> Tensor:
    """The sum of each, float64."""
    if len({norm.dtype for norm in norms}) == 1:
        return torch.stack(list(norms)).sum(1, dtype=torch.float64)
    return torch.stack([norm.sum(dtype=torch.float64) for norm in norms])
