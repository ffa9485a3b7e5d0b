"""Forms of losses, told from the outputs z of a model and the gradients v that a loop sent back to them.

With p = softmax(z), the classes along one axis, and c the scale of the loss (see `scale`):

    cross-entropy                          v = c (p - onehot(y)) at every position that counts
    cross-entropy with label smoothing ε   v = c (p - (1 - ε) onehot(y) - ε/K)
    cross-entropy with class weights w     v = c w_y (p - onehot(y))
    with both, W the sum of all w          v = c ((1 - ε) w_y (p - onehot(y)) + ε/K (W p - w))
    likelihood of log-probabilities        v = -c onehot(y), exp(z) sums to 1
    binary cross-entropy on logits         v = c (σ(z) - y), y in {0, 1}
    outputs that are losses                v = c everywhere

Positions that do not count (`ignore_index`) have v = 0. A few rows suffice to tell a form; class weights need all.
Forms with label smoothing are in `smoothed_forms`.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from batchscope.gradients.observing import smoothed_forms

Rows = NDArray[np.float64]

POSITIONS = 32  # looked at, those with the largest gradients: enough to tell one c from several
SEARCHED = 256  # among so many, evenly spread
FEW = 4  # rows that say the scale of a form that is known
MOST_ENTRIES = 2**18  # of the rows looked at: fewer rows where there are many classes
TOLERANCE = 1e-3  # relative; of two forms of a loss, the wrong one is off by far more
LEAST = 1e-2  # of the largest gradient: smaller ones are mostly rounding
HALF_TOLERANCE = 3e-2  # where z or v were rounded to 8 bits

CROSS_ENTROPY, SMOOTHED, WEIGHTED, WEIGHTED_SMOOTHED = (
    "cross-entropy",
    "cross-entropy with label smoothing",
    "cross-entropy with class weights",
    "cross-entropy with class weights and label smoothing",
)
LIKELIHOOD, BINARY, LOSSES = "likelihood of log-probabilities", "binary cross-entropy", "outputs that are losses"


@dataclass(frozen=True)
class Scale:
    """factor: 1/c, what the loop's gradients are to be multiplied by. form: of the loss, in words.

    axis: of the classes, where the form has any. smoothing: ε. weights: class -> w, up to a common factor; their mean
    over the classes first seen is 1. is_rough: whether v is only near to that form, a small term being added to it.
    """

    factor: float
    form: str
    axis: int = 0
    smoothing: float = 0.0
    weights: Mapping[int, float] = field(default_factory=dict)
    is_rough: bool = False


@np.errstate(all="ignore")  # of outputs that are no logits: what overflows fits no form
def derive(z: Tensor, v: Tensor, known: Mapping[int, float] | None = None) -> Scale | None:
    """The scale of the loss whose gradient at the output z is v, None when its form cannot be told.

    z, v: of one shape, [N, ...]. known: class weights of earlier steps, by which those of this one are scaled.
    None also when different terms have different weights that are not those of classes.
    """
    if z.is_complex() or not z.is_floating_point() or z.shape != v.shape or z.ndim == 0 or v.is_sparse:
        return None
    z, v = z.detach(), v.detach()
    tolerance = _tolerance(z, v)
    for axis in dict.fromkeys((z.ndim - 1, 1)) if z.ndim > 1 and z.shape[0] else ():
        found = None if z.shape[axis] < 2 else _along(rows_of(z, axis), rows_of(v, axis), axis, tolerance, known)
        if found is not None:
            return found
    return _everywhere(z, v, tolerance)


@np.errstate(all="ignore")
def derive_again(before: Scale | None, z: Tensor, v: Tensor) -> Scale | None:
    """`derive` after an earlier pass: of a form that is known already, a few rows say its scale."""
    if before is None or z.shape != v.shape or z.ndim <= before.axis:
        return derive(z, v)
    again = _again(before, z.detach(), v.detach())
    return derive(z, v, before.weights) if again is None else again


def _again(before: Scale, z: Tensor, v: Tensor) -> Scale | None:
    if before.form == CROSS_ENTROPY:
        rows, grads = rows_of(z, before.axis), rows_of(v, before.axis)
        step = max(1, len(grads) // FEW)
        if rows.shape[1] <= smoothed_forms.MOST_CLASSES and not before.is_rough:
            of_few = _of_few(rows[::step].tolist(), grads[::step].tolist(), _rounding(z, v))
            return None if of_few is None else replace(before, factor=of_few)
        grads_found = _array(grads[::step])
        counts = abs(grads_found).max(1) > 0
        if not counts.any():
            return None
        p, grads_found = _softmax(_array(rows[::step])[counts]), grads_found[counts]
        c = _coefficients(p, grads_found, _tolerance(z, v) if before.is_rough else _rounding(z, v))
        factor = None if c is None else _common(c, _tolerance(z, v))
        return None if factor is None else replace(before, factor=factor)
    if before.smoothing:
        rows_found, grads_found = _largest(rows_of(z, before.axis), rows_of(v, before.axis))
        classes = z.shape[before.axis]
        known = smoothed_forms.Known(before.smoothing, np.array([before.weights.get(k, 1.0) for k in range(classes)]))
        c_found = known.scale(_softmax(rows_found), grads_found, _rounding(z, v)) if len(rows_found) else None
        return None if c_found is None else replace(before, factor=1 / c_found)
    return None


def _of_few(rows: list[list[float]], grads: list[list[float]], tolerance: float) -> float | None:
    """1/c of a plain cross-entropy, from a few rows of few classes: for so little, calls of numpy take longest."""
    found: list[float] = []
    for row, sent in zip(rows, grads, strict=True):
        target = min(range(len(sent)), key=sent.__getitem__)
        if not sent[target] < 0:
            continue
        top = max(row)
        powers = [math.exp(x - top) for x in row]
        total = math.fsum(powers)
        direction = [power / total for power in powers]
        direction[target] -= 1
        size = sum(map(operator.mul, direction, direction))
        c = sum(map(operator.mul, sent, direction)) / size if size else 0.0
        allowed = smoothed_forms.allowed(max(map(abs, sent)), c, len(row), tolerance)
        if not c > 0 or any(abs(x - c * d) > allowed for x, d in zip(sent, direction, strict=True)):
            return None
        found.append(c)
    if not found or max(found) - min(found) > TOLERANCE * max(found):
        return None
    return len(found) / sum(found)


def rows_of(x: Tensor, axis: int) -> Tensor:
    """[rows, classes]."""
    if x.ndim == 2 and axis == 1:
        return x
    return x.movedim(axis, -1).flatten(0, -2)


def _along(z: Tensor, v: Tensor, axis: int, tolerance: float, known: Mapping[int, float] | None) -> Scale | None:
    """The forms with classes along an axis."""
    rows, grads = _largest(z, v)
    if not len(rows):
        return None
    target = grads.argmin(1)
    found = _likelihood(rows, grads, target, tolerance)
    if found is not None:
        return Scale(found, LIKELIHOOD, axis)
    p = _softmax(rows)
    for is_rough, allowed in ((False, _rounding(z, v)), (True, tolerance)):
        c = _coefficients(p, grads, allowed)
        factor = None if known or c is None else _common(c, tolerance)
        if factor is not None:
            return Scale(factor, CROSS_ENTROPY, axis, is_rough=is_rough and allowed < HALF_TOLERANCE)
        other = None if c is None else _weighted(z, v, axis, tolerance, known)
        if other is None and not is_rough:  # of two classes, any function of a softmax has a c in every row
            other = _smoothed(z, v, axis)
        if other is not None:
            return other
    return None


def _likelihood(rows: Rows, grads: Rows, target: NDArray[np.intp], tolerance: float) -> float | None:
    if rows.max() > tolerance or not bool((abs(np.exp(rows).sum(1) - 1) < tolerance).all()):
        return None
    c = -grads[np.arange(len(grads)), target]
    return _common(c, tolerance) if bool((abs(grads).sum(1) - c <= tolerance * c).all()) else None


def _coefficients(p: Rows, grads: Rows, tolerance: float) -> Rows | None:
    """c of every row by least squares, None where v = c (p - onehot) does not hold in all. tolerance: beyond
    rounding."""
    direction = p.copy()
    direction[np.arange(len(p)), grads.argmin(1)] -= 1
    c: Rows = (grads * direction).sum(1) / np.square(direction).sum(1)
    is_so = smoothed_forms.fits(grads, c[:, None] * direction, c, tolerance)
    return c if is_so else None


def _smoothed(z: Tensor, v: Tensor, axis: int) -> Scale | None:
    """Label smoothing, without class weights or with them."""
    rows, grads = _largest(z, v)
    plain = smoothed_forms.unweighted(_softmax(rows), grads, _rounding(z, v))
    if plain is not None:
        c, smoothing = plain
        return Scale(1 / c, SMOOTHED, axis, smoothing)
    rows, grads = _largest(z, v, smoothed_forms.MOST_ROWS)
    weighted = smoothed_forms.weighted(_softmax(rows), grads, _rounding(z, v))
    if weighted is None:
        return None
    c, known = weighted
    return Scale(1 / c, WEIGHTED_SMOOTHED, axis, known.smoothing, dict(enumerate(known.weights.tolist())))


def _weighted(z: Tensor, v: Tensor, axis: int, tolerance: float, known: Mapping[int, float] | None) -> Scale | None:
    """One c for each class, from all rows."""
    rows, grads = _largest(z, v, len(v))
    target = grads.argmin(1)
    c = _coefficients(_softmax(rows), grads, tolerance)
    if c is None:
        return None
    seen = {int(y): c[target == y] for y in np.unique(target)}
    if any(_common(of_class, tolerance) is None for of_class in seen.values()):
        return None
    if not known and len(rows) < 2 * len(seen):  # each row could have a weight of its own
        return None
    by_class = {y: float(of_class.mean()) for y, of_class in seen.items()}
    weights = dict(known or {y: value / float(np.mean(list(by_class.values()))) for y, value in by_class.items()})
    factor = _common(np.array([by_class[y] / weights[y] for y in by_class if y in weights]), tolerance)
    if factor is None:
        return None
    weights.update({y: value * factor for y, value in by_class.items() if y not in weights})
    return Scale(factor, WEIGHTED, axis, weights=weights)


def _everywhere(z: Tensor, v: Tensor, tolerance: float) -> Scale | None:
    """The forms with independent entries."""
    first = float(v.flatten()[0]) if v.numel() > 1 else 0.0
    if first and bool((v == first).all()):
        return Scale(abs(1 / first), LOSSES)
    rows, grads = _largest(z.reshape(-1, 1), v.reshape(-1, 1))
    if len(rows) < 4:  # too few to tell a form from chance
        return None
    probability = 1 / (1 + np.exp(-rows))
    c = np.where(grads < 0, -grads / (1 - probability), grads / probability)
    factor = _common(c.flatten(), tolerance)
    return None if factor is None else Scale(factor, BINARY)


def _largest(z: Tensor, v: Tensor, most: int = 0) -> tuple[Rows, Rows]:
    """The rows with the largest gradients; rows without gradient do not count. most: so many of all, by default a few
    of some."""
    step = 1 if most else max(1, len(v) // SEARCHED)
    size = _array(v[::step].abs().amax(1))  # faster than an infinity norm
    if step > 1 and not size.any():
        step, size = 1, _array(v.abs().amax(1))
    most = most or max(4, min(POSITIONS, MOST_ENTRIES // max(v.shape[1], 1)))
    order = np.argsort(-size)[:most]
    order = order[size[order] > LEAST * size[order[0]]] if len(order) else order
    index = torch.from_numpy(order * step).to(v.device)
    return _array(z[index]), _array(v[index])


def _tolerance(z: Tensor, v: Tensor) -> float:
    return HALF_TOLERANCE if z.dtype.itemsize < 4 or v.dtype.itemsize < 4 else TOLERANCE


def _rounding(z: Tensor, v: Tensor) -> float:
    """Relative, beyond that to float32."""
    return HALF_TOLERANCE if _tolerance(z, v) == HALF_TOLERANCE else 0.0


def _array(x: Tensor) -> Rows:
    x = x if x.device.type == "cpu" else x.cpu()
    x = x if x.dtype.itemsize > 2 else x.float()  # numpy has no bfloat16
    return x.numpy().astype(np.float64)


def _softmax(rows: Rows) -> Rows:
    powers = np.exp(rows - rows.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)  # type: ignore[no-any-return]


def _common(c: Rows, tolerance: float) -> float | None:
    """1/c when all are the same positive number."""
    middle = float(c.mean()) if len(c) else 0.0
    if not middle > 0 or not max(c.max() - middle, middle - c.min()) <= tolerance * middle:
        return None
    return 1 / middle
