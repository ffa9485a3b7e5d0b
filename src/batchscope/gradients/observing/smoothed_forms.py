"""Cross-entropies with label smoothing ε, told from p = softmax(z) and the gradients v that a loop sent back (see
`loss_forms`).

With class weights w (all 1 where there are none), their sum W and K classes

    v_k = c ((1 - ε) w_y (p_k - [k = y]) + ε/K (W p_k - w_k)) = a_y p_k - b_k - t_y [k = y],

b_k = c ε w_k / K,  t_y = (1 - ε) c w_y,  a_y = t_y + Σ b. So a, b and t follow from all rows by least squares, ε from
b_y / t_y, which is the same for all classes, and c w from b. Other losses of softmax (an entropy bonus, distillation)
are close to these at the start of a training run, where p is nearly uniform, and have another scale: rows must fit to
rounding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]

MOST_CLASSES = 32  # with class weights: the least squares take 2 ms then, of a loop whose loss may be another one
MOST_ROWS = 64
ROUNDING = 2e-6  # times c and the root of the number of classes: seen are 1e-7 for 3, 3e-6 for 1000, 7e-5 for 50 000
RELATIVE = 2e-5  # of a row's largest gradient
ROUNDS = 3  # of targets from scale and scale from targets
CLEAR = 0.3  # of the largest gradient
ALIKE = 1e-3  # of numbers that ought to be the same, from least squares
LEAST, MOST = 1e-3, 0.9  # of ε


@dataclass(frozen=True)
class Known:
    """smoothing: ε. weights: w of every class, [K]; their mean is 1."""

    smoothing: float
    weights: Rows

    def direction(self, p: Rows, target: NDArray[np.intp]) -> Rows:
        """v for c = 1, [rows, K]."""
        away = self.smoothing / p.shape[1] * (self.weights.sum() * p - self.weights)
        hit = (1 - self.smoothing) * self.weights[target]
        direction: Rows = away + hit[:, None] * (p - _onehot(target, p.shape[1]))
        return direction

    def targets(self, p: Rows, grads: Rows, c: float) -> NDArray[np.intp]:
        """The class of every row of scale c: what is left of v without the smoothing is least there."""
        away = self.smoothing / p.shape[1] * (self.weights.sum() * p - self.weights)
        target: NDArray[np.intp] = (grads - c * away).argmin(1)
        return target

    def scale(self, p: Rows, grads: Rows, tolerance: float) -> float | None:
        """c of rows of this form; None for rows that are not."""
        target, c = grads.argmin(1), 0.0
        clear = _clear(grads)
        for _ in range(ROUNDS):
            direction = self.direction(p, target)[clear]
            c = float((grads[clear] * direction).sum() / np.square(direction).sum())
            target, clear = self.targets(p, grads, c), np.ones(len(p), dtype=bool)
        return c if c > 0 and fits(grads, c * self.direction(p, target), np.full(len(p), c), tolerance) else None


def unweighted(p: Rows, grads: Rows, tolerance: float) -> tuple[float, float] | None:
    """(c, ε) without class weights: away from the targets v = c p - c ε/K, a line, fitted to all rows."""
    rows, classes = p.shape
    if rows < 4:
        return None
    target, c, smoothing = grads.argmin(1), 0.0, 0.0
    clear = _clear(grads)
    for _ in range(ROUNDS):
        away = ~_onehot(target, classes).astype(bool) & clear[:, None]
        design = np.stack([p[away], np.ones(int(away.sum()))], 1)
        (c, intercept), *_ = np.linalg.lstsq(design, grads[away], rcond=None)
        target, clear = (grads - c * p).argmin(1), np.ones(rows, dtype=bool)
        smoothing = float(-intercept * classes / c) if c > 0 else 0.0
    if not LEAST < smoothing < MOST:
        return None
    found = Known(smoothing, np.ones(classes)).scale(p, grads, tolerance)
    return None if found is None else (found, smoothing)


def weighted(p: Rows, grads: Rows, tolerance: float) -> tuple[float, Known] | None:
    """(c, ε and class weights)."""
    rows, classes = p.shape
    if classes > MOST_CLASSES or rows < 8 or not _sum_to_zero(grads):
        return None
    target, clear, known = grads.argmin(1), _clear(grads), None
    for _ in range(ROUNDS):
        known = _weights_from(p[clear], grads[clear], target[clear])
        if known is None:
            return None
        c, form = known
        target, clear = form.targets(p, grads, c), np.ones(rows, dtype=bool)
    assert known is not None
    found = known[1].scale(p, grads, tolerance)
    return None if found is None else (found, known[1])


def _weights_from(p: Rows, grads: Rows, target: NDArray[np.intp]) -> tuple[float, Known] | None:
    """(c, ε and class weights) of rows whose targets are known; None where the least squares contradict the form."""
    found = _least_squares(p, grads, target)
    if found is None:
        return None
    a, b, t, seen = found
    ratio = b[seen] / t
    if not (b > 0).all() or not (t > 0).all() or np.ptp(ratio) > ALIKE * ratio.mean():
        return None
    odds = p.shape[1] * float(ratio.mean())
    smoothing = odds / (1 + odds)
    if abs(a - t - b.sum()).max() > ALIKE * a.max() or not LEAST < smoothing < MOST:
        return None
    return float(b.mean()) * p.shape[1] / smoothing, Known(smoothing, b / b.mean())


def _least_squares(p: Rows, grads: Rows, target: NDArray[np.intp]) -> tuple[Rows, Rows, Rows, NDArray[np.intp]] | None:
    """(a and t of the classes seen, with b of all between them, the classes seen)."""
    rows, classes = p.shape
    seen, place = np.unique(target, return_inverse=True)
    design = np.zeros((rows, classes, 2 * len(seen) + classes))
    every = np.arange(rows)
    design[every, :, place] = p
    design[:, np.arange(classes), len(seen) + np.arange(classes)] = -1
    design[every, target, len(seen) + classes + place] = -1
    x, _, rank, _ = np.linalg.lstsq(design.reshape(rows * classes, -1), grads.ravel(), rcond=None)
    if rank < len(x):
        return None
    a, b, t = np.split(x, [len(seen), len(seen) + classes])
    return a, b, t, seen


def _sum_to_zero(grads: Rows) -> bool:
    """Whether the gradients of every row do, as those of every function of a softmax."""
    return bool((abs(grads.sum(1)) <= ALIKE * abs(grads).max(1)).all())


def fits(grads: Rows, expected: Rows, c: Rows, tolerance: float) -> bool:
    """Whether rows are as expected but for rounding to float32. c: [rows]. tolerance: relative, beyond that."""
    limits = allowed(abs(grads).max(1), c, grads.shape[1], tolerance)
    return bool((abs(grads - expected).max(1) <= limits).all())


Number = TypeVar("Number", float, Rows)


def allowed(size: Number, c: Number, classes: int, tolerance: float) -> Number:
    """By how much entries of a row may be off. size: its largest entry."""
    return ROUNDING * math.sqrt(classes) * c + max(RELATIVE, tolerance) * size


def _clear(grads: Rows) -> NDArray[np.bool_]:
    """Rows whose target is the entry of least gradient: those that are far from it."""
    size = abs(grads).max(1)
    return size > CLEAR * size.max()  # type: ignore[no-any-return]


def _onehot(target: NDArray[np.intp], classes: int) -> Rows:
    hot = np.zeros((len(target), classes))
    hot[np.arange(len(target)), target] = 1
    return hot
