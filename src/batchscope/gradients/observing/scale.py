"""The scale of the loss, derived from what was backpropagated.

A loop backpropagates L = c · sum_i ℓ_i with some c: 1/N for a mean over examples, 1/(number of tokens) for a mean over
tokens, 1/(tokens of the whole step) after "sum / num_items", any of these times 1/accumulation or a GradScaler's scale.
The gradient v = ∂L/∂z that arrives at the model's output z gives c away whenever the form of the loss can be told from
z and v:

    cross-entropy on logits          v = c (softmax(z) - onehot(y)) at every position that counts
    binary cross-entropy on logits   v = c (σ(z) - y), y in {0, 1}
    likelihood of log-probabilities  v = -c onehot(y), exp(z) sums to 1
    outputs that are losses          v = c everywhere

and g_i = (1/c) · (what example i contributed): the gradient of the *sum* of example i's terms, as in `measure`. For any
other loss (a squared error: its target cannot be told from z and v) `reduction` and `loss_scale` are believed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

POSITIONS = 32  # looked at, those with the largest gradients: enough to tell one c from several
TOLERANCE = 1e-3  # relative; of two forms of a loss, the wrong one is off by far more
LEAST = 1e-2  # of the largest
HALF_TOLERANCE = 3e-2  # where z or v were rounded to 8 bits


@dataclass(frozen=True)
class Scale:
    """factor: 1/c, what the loop's gradients are to be multiplied by. form: of the loss, in words."""

    factor: float
    form: str
    axis: int = 0  # of the classes, where the form has any


def derive(z: Tensor, v: Tensor) -> Scale | None:
    """The scale of the loss whose gradient at the output z is v, None when its form cannot be told.

    z, v: of one shape, [N, ...]. None also when different terms have different weights.
    """
    if z.is_complex() or not z.is_floating_point() or z.shape != v.shape or z.ndim == 0 or v.is_sparse:
        return None
    half = z.dtype.itemsize < 4 or v.dtype.itemsize < 4
    tolerance = HALF_TOLERANCE if half else TOLERANCE
    for axis in dict.fromkeys((z.ndim - 1, 1)) if z.ndim > 1 and z.shape[0] else ():
        found = _along(z.detach(), v.detach(), axis, tolerance)
        if found is not None:
            return found
    return _everywhere(z, v, tolerance)


def _along(z: Tensor, v: Tensor, axis: int, tolerance: float) -> Scale | None:
    """The forms with classes along an axis."""
    if z.shape[axis] < 2:
        return None
    rows, grads = _largest(z.movedim(axis, -1).flatten(0, -2), v.movedim(axis, -1).flatten(0, -2))
    if not len(rows):
        return None
    target = grads.argmin(1, keepdim=True)
    hot = torch.zeros_like(rows).scatter_(1, target, 1.0)
    for form, direction in (("cross-entropy", rows.softmax(1) - hot), ("likelihood of log-probabilities", -hot)):
        if form[0] == "l" and not bool(((rows.exp().sum(1) - 1).abs() < tolerance).all()):
            continue
        # least squares in each row, then the same number in all rows
        c = (grads * direction).sum(1) / direction.square().sum(1)
        fits = ((grads - c[:, None] * direction).abs().amax(1) <= tolerance * grads.abs().amax(1)).all()
        scale = _common(c, tolerance) if fits else None
        if scale is not None:
            return Scale(scale, form, axis)
    return None


def _everywhere(z: Tensor, v: Tensor, tolerance: float) -> Scale | None:
    """The forms with independent entries."""
    first = float(v.flatten()[0]) if v.numel() > 1 else 0.0
    if first and bool((v == first).all()):
        return Scale(abs(1 / first), "outputs that are losses")
    rows, grads = _largest(z.detach().reshape(-1, 1), v.detach().reshape(-1, 1))
    if len(rows) < 4:  # too few to tell a form from chance
        return None
    probability = rows.sigmoid()
    c = torch.where(grads < 0, -grads / (1 - probability), grads / probability)
    scale = _common(c.flatten(), tolerance)
    return None if scale is None else Scale(scale, "binary cross-entropy")


def _largest(z: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """The rows with the largest gradients, in float64; rows without gradient do not count."""
    size = v.abs().amax(1)  # faster than an infinity norm
    size, index = size.topk(min(POSITIONS, len(size)))
    index = index[size > LEAST * size[0]] if len(size) else index  # small ones are mostly rounding
    return z[index].double(), v[index].double()


def _common(c: Tensor, tolerance: float) -> float | None:
    """1/c when all are the same positive number."""
    middle = float(c.median())
    if not middle > 0 or not bool(((c - middle).abs() <= tolerance * middle).all()):
        return None
    return 1 / middle


def losses_of(scale: Scale, v: Tensor) -> Callable[[Tensor, Tensor], Tensor] | None:
    """loss(z, v) -> the summed loss that has the gradient v at z, up to its scale; v says what the targets were.

    None where v does not give the targets away; then <z, v> is the loss to first order.
    """
    if scale.form == "cross-entropy":
        return lambda z, v: _cross_entropy(z, v, scale.axis)
    if scale.form == "binary cross-entropy":
        return lambda z, v: torch.nn.functional.binary_cross_entropy_with_logits(
            z, (v < 0).to(z.dtype), reduction="sum"
        )
    return None


def _cross_entropy(z: Tensor, v: Tensor, axis: int) -> Tensor:
    target = v.argmin(axis, keepdim=True)
    counts = (v != 0).any(axis, keepdim=True)
    return ((z.logsumexp(axis, keepdim=True) - z.gather(axis, target)) * counts).sum()


@dataclass(frozen=True)
class Told:
    """The scale of the loss as the user says it is. reduction: "mean", "sum" or None. loss_scale: a number, a function,
    or None."""

    reduction: str | None = None
    loss_scale: float | Callable[[], float] | None = None

    def factor(self, num_examples: int) -> float:
        """What the loop's gradients are to be multiplied by."""
        return (1 if self.reduction == "sum" else num_examples) / self._scale

    def remark(self, derived: Scale | None, num_examples: int) -> tuple[str, str] | None:
        """(reason, remedy) where what was told is missing and needed, or is not what the loop does."""
        if derived is None:
            return None if self.reduction is not None else UNKNOWN_SCALE
        is_told = self.reduction is not None or self.loss_scale is not None
        if not is_told or abs(self.factor(num_examples) / derived.factor - 1) < AGREEMENT:
            return None
        fitting = [
            reduction
            for reduction, size in (("mean", num_examples), ("sum", 1))
            if abs(derived.factor * self._scale / size - 1) < AGREEMENT
        ]
        return (
            f"the loop's {derived.form} is not scaled as told (reduction={self.reduction!r}, "
            f"loss_scale={self._scale:.6g}): the scale found in its gradients is used instead",
            f"reduction={fitting[0]!r} fits"
            if fitting
            else f"its terms are multiplied by {1 / derived.factor:.6g}; leave reduction and loss_scale out",
        )

    @property
    def _scale(self) -> float:
        scale = self.loss_scale() if callable(self.loss_scale) else self.loss_scale
        return 1.0 if scale is None else float(scale)


AGREEMENT = 1e-2  # of two factors
UNKNOWN_SCALE = (
    "the scale of the loss could not be derived from its gradient: it is taken for a mean over examples",
    "say reduction= and loss_scale=; ratios such as the noise scale do not depend on a constant scale",
)
