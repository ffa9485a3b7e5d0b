"""The scale of the loss, derived from what was backpropagated.

A loop backpropagates L = c · sum_i ℓ_i with some c: 1/N for a mean over examples, 1/(number of tokens) for a mean over
tokens, 1/(sum of the weights) for a mean with class weights, 1/(tokens of the whole step) after "sum / num_items", any
of these times 1/accumulation or a GradScaler's scale. The gradient v = ∂L/∂z that arrives at the model's output z gives
c away whenever the form of the loss can be told from z and v (`loss_forms`), and g_i = (1/c) · (what example i
contributed): the gradient of the *sum* of example i's terms, as in `measure`. For any other loss (a squared error: its
target cannot be told from z and v) `reduction` and `loss_scale` are believed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from batchscope.gradients.observing.loss_forms import (
    BINARY,
    CROSS_ENTROPY,
    HALF_TOLERANCE,
    LIKELIHOOD,
    LOSSES,
    SMOOTHED,
    TOLERANCE,
    WEIGHTED,
    WEIGHTED_SMOOTHED,
    Scale,
    rows_of,
)
from batchscope.gradients.subject.state import apart

AGREEMENT = 1e-2  # of two factors
ROUNDING = 1e-5  # of a probability, where it is subtracted from one close to it


def losses_of(scale: Scale, v: Tensor) -> Callable[[Tensor, Tensor], Tensor] | None:
    """loss(z, v) -> the summed loss that has the gradient v at z, up to its scale; v says what the targets were.

    None where v does not give the targets away; then <z, v> is the loss to first order.
    """
    if scale.form in (CROSS_ENTROPY, SMOOTHED, WEIGHTED, WEIGHTED_SMOOTHED):
        return lambda z, v: _cross_entropy(z, v, scale)
    if scale.form == BINARY:
        return lambda z, v: F.binary_cross_entropy_with_logits(z, (v < 0).to(z.dtype), reduction="sum")
    return None


def _cross_entropy(z: Tensor, v: Tensor, scale: Scale) -> Tensor:
    rows, grads = rows_of(z, scale.axis), rows_of(v, scale.axis)
    weights = _weights(scale, rows)
    target = torch.where((grads != 0).any(1), _targets(rows.detach(), grads, weights, scale), -100)
    weight, smoothing = weights if scale.weights else None, scale.smoothing
    return F.cross_entropy(rows, target, weight, reduction="sum", ignore_index=-100, label_smoothing=smoothing)


def _targets(rows: Tensor, grads: Tensor, weights: Tensor, scale: Scale) -> Tensor:
    """The class of each row, where the gradient is least, but for what label smoothing adds to it."""
    if not scale.smoothing:
        return grads.argmin(1)
    away = weights.sum() * rows.softmax(1) - weights
    return (grads - scale.smoothing / len(weights) / scale.factor * away).argmin(1)


def _weights(scale: Scale, rows: Tensor) -> Tensor:
    weights = rows.new_ones(rows.shape[1])
    if scale.weights:
        weights[list(scale.weights)] = rows.new_tensor(list(scale.weights.values()))
    return weights


@apart()
def misfit(scale: Scale, z: Tensor, v: Tensor) -> tuple[str, str] | None:
    """(reason, remedy) where the loss that was told from a few rows is not that of single examples.

    z, v: [N, ...] with the examples first. The first, middle and last example's loss is written down anew and
    differentiated by plain autograd.
    """
    n = len(z)
    for i in sorted({0, n // 2, n - 1}):
        one, sent = z[i : i + 1].detach().float().requires_grad_(), v[i : i + 1].detach().float()
        with torch.enable_grad():
            (right,) = torch.autograd.grad(_loss_of_one(scale, one, sent), one)
        size = float(right.abs().max()) / scale.factor
        tolerance = HALF_TOLERANCE if z.dtype.itemsize < 4 or v.dtype.itemsize < 4 else 10 * TOLERANCE
        allowed = tolerance * max(size, float(sent.abs().max())) + ROUNDING / scale.factor
        if not float((right / scale.factor - sent).abs().max()) <= allowed:
            return _explained(scale, i, n, float(sent.norm()) / max(float(right.norm()), 1e-300))
    return None


def _loss_of_one(scale: Scale, z: Tensor, v: Tensor) -> Tensor:
    if scale.form == LOSSES:
        return z.sum()
    if scale.form == LIKELIHOOD:
        return -(z * (v < 0)).sum()
    exact = losses_of(scale, v)
    assert exact is not None
    return exact(z, v)


def _explained(scale: Scale, i: int, n: int, c: float) -> tuple[str, str]:
    fitting = [reduction for reduction, size in (("mean", n), ("sum", 1)) if abs(c * size - 1) < AGREEMENT]
    return (
        f"the loop's loss looked like {scale.form} times {1 / scale.factor:.6g}, but example {i}'s gradient is "
        f"{c:.6g} times that of its own loss",
        f"reduction={fitting[0]!r} fits that example" if fitting else "say reduction= and loss_scale=",
    )


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
        if derived.weights:
            return CLASS_WEIGHTS
        if derived.is_rough:
            return ROUGH
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


CLASS_WEIGHTS = (
    "the loss has class weights, which its gradient shows up to a common factor: they are taken to have mean 1 over "
    "the classes of the first observed pass",
    "ratios such as the noise scale do not depend on that factor",
)
ROUGH = (
    "the loss is near to a cross-entropy, with something added to it: its scale was found to about 1 %",
    "reduction= and loss_scale= say it exactly; ratios such as the noise scale do not depend on it",
)
UNKNOWN_SCALE = (
    "the scale of the loss could not be derived from its gradient: it is taken for a mean over examples",
    "say reduction= and loss_scale=; ratios such as the noise scale do not depend on a constant scale",
)
