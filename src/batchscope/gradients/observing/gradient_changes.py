"""What came between the backward passes of a step and the optimizer: is `.grad` still the gradient of the loss?

Clipping, a GradScaler's division and the mean over accumulated passes or ranks leave every parameter's gradient its
direction, or cut single entries off. A penalty with a backward pass of its own, weight decay or noise added by hand, a
layer whose gradient is set to zero do not: what observe tells is then not all that the optimizer follows, and a note
says so. The moments are those of the loss alone in either case.

Two comparisons. Exact, on the first observed step and on audited ones: the sum of the gradients that the backward
passes through the model gave, entry by entry. On every other observed step where a counter of changes shows that
something wrote `.grad`: squared norms alone, which one common factor must explain.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from batchscope.gradients.observing.loop_gradients import sq_norms
from batchscope.gradients.observing.notes import Notes
from batchscope.gradients.observing.passes import StepSums
from batchscope.gradients.observing.step_under_way import StepUnderWay
from batchscope.gradients.observing.steps import Steps
from batchscope.gradients.subject.subject import full

MORE_THAN_THE_LOSS = (
    "the gradient that the optimizer got was not that of the loss at the model's outputs, nor that one clipped or "
    "scaled: something was added to it or taken from it (a penalty in a backward pass of its own, weight decay or "
    "noise by hand, a layer set to zero)",
    "the moments, S1 and Q, are without it: of the loss alone",
)
ROUNDINGS, LOW_ROUNDINGS = 100, 4  # of an entry, in float32 (for float64 too) and below: scaling rounds it once
ALIKE, LOW_ALIKE = 1e-4, 3e-2  # relative, of factors and of squared norms, which are sums of such entries

NOTHING = 1e-12  # of a whole squared norm: rounding of a gradient that is zero but for rounding


class Change(enum.Enum):
    """What became of the gradients before the optimizer got them."""

    COMMON = "none, or one factor for all"
    UNEVEN = "clipped entries, or factors of single parameters or rows"
    MORE = "something else"


class GradientChanges:
    """Compares, at the optimizer's step, `.grad` with what the step's backward passes gave.

    wants_sums: whether an exact comparison is due, though no audit is.
    """

    def __init__(self, steps: Steps, notes: Notes) -> None:
        self._steps, self._notes = steps, notes
        self._last = Change.COMMON  # by the last exact comparison
        self.wants_sums = True

    def check(self, number: int, step: StepUnderWay) -> None:
        """A note where `.grad` holds more than the step's passes gave. number: of the step."""
        if self._is_more(step):
            self._notes.remark(number, *MORE_THAN_THE_LOSS)

    def _is_more(self, step: StepUnderWay) -> bool:
        sums = step.sums
        # Behind a closure parameters have moved, and some optimizers have written `.grad`; wrappers for several
        # processes average behind our hooks; of passes at several weights the last is there. Passes can be told still.
        if not self._steps.inside or sums.is_distributed or step.has_left_out:
            self.wants_sums &= not self._steps.is_optimizers
            return step.has_others
        if sums.loop is None and not (step.has_others or step.was_written()):
            return False
        gradients = {name: step.parameters[name].grad for name in self._steps.held(step.parameters)}
        if sums.loop is not None:
            self.wants_sums, self._last = False, change_of(gradients, sums.loop)
            return self._last is Change.MORE
        if self._last is Change.MORE:  # was said
            return False
        can_tell = self._last is Change.COMMON and sums.is_even
        return norms_differ(gradients, sums) if can_tell else step.has_others


def change_of(gradients: Mapping[str, Tensor | None], sums: Mapping[str, Tensor]) -> Change:
    """What the gradients that an optimizer gets are to the summed gradients of a step, float32 at least; a missing one
    is zero."""
    pairs = [_Pair.of(gradient, sums.get(name)) for name, gradient in gradients.items()]
    changes = [pair.relation for pair in pairs if pair is not None]
    if Change.MORE in changes:
        return Change.MORE
    known = [(pair.factor, pair.after.numel()) for pair in pairs if pair is not None and pair.factor is not None]
    is_even = Change.UNEVEN not in changes and _are_alike([factor for factor, size in known if size > 1])
    # a single entry is a multiple of any other: it has to have the factor of the rest
    is_even_throughout = is_even and _are_alike([factor for factor, _ in known])
    return Change.COMMON if is_even_throughout else Change.MORE if is_even else Change.UNEVEN


class _Pair:
    """The gradient of one parameter after and before, flat. factor: after = factor * before, where that is so."""

    def __init__(self, after: Tensor, before: Tensor, tolerance: float) -> None:
        self.shape, self._tolerance = before.shape, tolerance
        self.after, self.before = after.reshape(-1), before.reshape(-1)
        self.factor = self._factor_of(slice(None))

    @classmethod
    def of(cls, after: Tensor | None, before: Tensor | None) -> _Pair | None:
        """None where both are zero or missing."""
        present = before if after is None else after
        if present is None:
            return None
        zeros = torch.zeros_like(_real(present))
        is_low = present.dtype.itemsize < 4
        rounding = (
            LOW_ROUNDINGS * torch.finfo(present.dtype).eps if is_low else ROUNDINGS * torch.finfo(torch.float32).eps
        )
        pair = cls(
            zeros if after is None else _real(after),
            zeros if before is None else _real(before),
            rounding,
        )
        return pair if pair.after.any() or pair.before.any() else None

    @property
    def relation(self) -> Change:
        """COMMON for a factor, whichever."""
        if not self.after.any() or not self.before.any():
            return Change.MORE
        if self.factor is not None:
            return Change.COMMON
        return Change.UNEVEN if self._is_clipped() or self._has_scaled_rows() else Change.MORE

    def _factor_of(self, part: Any) -> float | None:
        """Of some entries."""
        after, before = self.after[part], self.before[part]
        square = float(before.square().sum(dtype=torch.float64))
        if not square:
            return None
        factor = float((after * before).sum(dtype=torch.float64)) / square
        rest = torch.linalg.vector_norm(after - factor * before)
        return factor if float(rest) <= self._tolerance * float(torch.linalg.vector_norm(after)) else None

    def _is_clipped(self) -> bool:
        """Whether the largest entries were cut to one size, and the others have a factor."""
        size = self.after.abs().max() * (1 - self._tolerance)
        is_cut = self.after.abs() >= size
        if not torch.equal(self.after[is_cut].sign(), self.before[is_cut].sign()):
            return False
        factor = self._factor_of(~is_cut)
        if factor is None:
            return not self.after[~is_cut].any() and not self.before[~is_cut].any()
        return bool((abs(factor) * self.before[is_cut].abs() >= size).all())

    def _has_scaled_rows(self) -> bool:
        """Whether each row (a unit's weights) has a factor of its own, above 0."""
        if len(self.shape) < 2 or self.shape[0] < 2 or self.before.numel() < 2 * self.shape[0]:
            return False
        after, before = (flat.reshape(self.shape[0], -1) for flat in (self.after, self.before))
        squares = before.square().sum(1, keepdim=True, dtype=torch.float64)
        factors = ((after * before).sum(1, keepdim=True, dtype=torch.float64) / squares.clamp_min(1e-300)).to(after)
        rest = torch.linalg.vector_norm(after - factors * before, dim=1)
        fits = rest <= self._tolerance * torch.linalg.vector_norm(after, dim=1)
        return bool((fits & ((factors > 0) | (squares == 0)).squeeze(1)).all())


def norms_differ(gradients: Mapping[str, Tensor | None], sums: StepSums) -> bool:
    """Whether no common factor explains the norms of the gradients that an optimizer gets."""
    there = {name: gradient for name, gradient in gradients.items() if gradient is not None}
    if not there:
        return True
    after = dict(zip(there, sq_norms(there.values()).tolist(), strict=True))
    known = dict(zip(sums.names, sums.sq_norm_sums().tolist(), strict=True))
    before = {name: known[name] for name in gradients}
    whole, total = sum(after.values()), sum(before.values())
    if not whole or not total:
        return bool(whole or total)
    tolerance = ALIKE if all(g.dtype.itemsize >= 4 for g in there.values()) else LOW_ALIKE
    pairs = [(after.get(name, 0.0) / whole, square / total) for name, square in before.items()]
    return not all(abs(a - b) <= tolerance * (a + b) + NOTHING for a, b in pairs)


def _real(gradient: Tensor) -> Tensor:
    """Every entry, in float32 at least; a complex one as two."""
    gradient = full(gradient.detach())
    return torch.view_as_real(gradient.resolve_conj()) if gradient.is_complex() else gradient


def _are_alike(factors: list[float]) -> bool:
    return not factors or max(factors) - min(factors) <= ALIKE * max(map(abs, factors))
