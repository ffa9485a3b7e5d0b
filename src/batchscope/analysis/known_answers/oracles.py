"""Problems whose answer is known: the noisy quadratic model in closed form, and published points of a large study."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from batchscope.analysis.sweeps import Array, Integers
from batchscope.records.row import Evaluation, Outcome, Row

# MLPerf Training, ResNet-50 v1.5 on ImageNet: batch size -> mean epochs to the quality target of the published runs.
MLPERF_RESNET50 = {
    1632: 35.0,
    3264: 35.2,
    4096: 40.0,
    8192: 42.0,
    13056: 45.4,
    32768: 56.0,
    49152: 68.0,
    58880: 79.9,
    65536: 84.5,
    67840: 85.9,
}
IMAGENET_EXAMPLES = 1_281_167  # ILSVRC 2012, training set


@dataclass(frozen=True)
class NoisyQuadratic:
    """Stochastic gradient descent on a noisy quadratic (Zhang et al. 2019, "Which Algorithmic Choices Matter...").

    Loss 1/2 sum_i h_i x_i^2; a gradient of batch size B is h_i x_i plus noise of variance h_i / B. With step size a the
    second moments s_i = E x_i^2 follow s_i <- (1 - a h_i)^2 s_i + a^2 h_i / B, hence, with s*_i = a / (B (2 - a h_i)),

        s_i(t) = s*_i + (1 - a h_i)^(2t) (s_0 - s*_i)     and     E loss(t) = 1/2 sum_i h_i s_i(t).

    curvatures: [K] h_i > 0. start: s_0, the same for all i. target: the expected loss to reach.
    """

    curvatures: Array
    start: float = 1.0
    target: float = 0.01

    @classmethod
    def of_size(cls, size: int = 10_000, power: float = 1.0, target: float = 0.01) -> NoisyQuadratic:
        """h_i = i^-power, i = 1..size; the paper has size 10^4 and power 1."""
        return cls(np.arange(1, size + 1, dtype=float) ** -power, target=target)

    @cached_property
    def largest_stable_step(self) -> float:
        """2 / max h: from here on the loss grows."""
        return 2 / float(self.curvatures.max())

    def second_moments(self, steps: ArrayLike, batch_size: float, step_size: float) -> Array:
        """s_i(t) [..., K] after `steps` [...] updates (fractions interpolate the closed form)."""
        h = self.curvatures
        steady = step_size / (batch_size * (2 - step_size * h))
        with np.errstate(divide="ignore"):
            log_decay = 2 * np.log(np.abs(1 - step_size * h))
        t = np.asarray(steps, dtype=float)[..., None]
        decay = np.exp(np.where(t > 0, t, 1.0) * log_decay)
        result: Array = steady + np.where(t > 0, decay, 1.0) * (self.start - steady)
        return result

    def expected_loss(self, steps: ArrayLike, batch_size: float, step_size: float) -> Array:
        """E loss(t) [...] after `steps` [...] updates."""
        return 0.5 * self.second_moments(steps, batch_size, step_size) @ self.curvatures

    def steady_loss(self, batch_size: float, step_size: float) -> float:
        """E loss after infinitely many steps; inf when the step size is not stable."""
        if step_size >= self.largest_stable_step:
            return math.inf
        h = self.curvatures
        return 0.5 * float((h * step_size / (2 - step_size * h)).sum()) / batch_size

    def steps_to_target(self, batch_size: float, step_size: float) -> float:
        """The first whole step at which E loss <= target; inf when the steady loss lies above it.

        Exact: wherever the target can be met every s*_i lies below s_0, so E loss falls monotonically: bisection.
        """
        if self.steady_loss(batch_size, step_size) >= self.target:
            return math.inf
        high = 1
        while self.expected_loss(high, batch_size, step_size) > self.target:
            high *= 2
        low = high // 2
        while high - low > 1:
            middle = (low + high) // 2
            met = self.expected_loss(middle, batch_size, step_size) <= self.target
            low, high = (low, middle) if met else (middle, high)
        return float(high)

    def table(self, batch_sizes: Sequence[float], step_sizes: Sequence[float]) -> Array:
        """[m, G] steps to target at every batch size and step size."""
        return np.array([[self.steps_to_target(B, a) for a in step_sizes] for B in batch_sizes])

    def batch_size_bound(self, steps: ArrayLike, batch_size: float, step_size: float) -> Array:
        """B_S = 1 + tr Sigma / E ||g||^2 [...] with tr Sigma = sum h_i, E ||g||^2 = sum h_i^2 s_i(t)."""
        sq_norm = self.second_moments(steps, batch_size, step_size) @ self.curvatures**2
        return np.asarray(1 + self.curvatures.sum() / sq_norm)


@dataclass(frozen=True)
class QuadraticStudy:
    """A study of the noisy quadratic as `batchscope run` would store it: a grid search, then seeds at the best step.

    A seed takes exp(spread z) times the expected steps, z standard normal: an assumption, as real seeds do not.
    """

    model: NoisyQuadratic
    batch_sizes: Sequence[int]
    step_sizes: Sequence[float]
    num_examples: int = 4096
    evaluations_per_epoch: int = 4
    max_epochs: int = 200
    num_seeds: int = 5
    spread: float = 0.05
    shape: str = "quadratic"
    depth: int = 1
    width: int = 1
    seed: int = 0

    def rows(self, history: bool = False) -> list[Row]:
        """Tune rows (one per batch and step size, free of noise) and final rows (one per seed) in plan order."""
        rng = np.random.default_rng(self.seed)
        rows: list[Row] = []
        for batch_size, steps in zip(self.batch_sizes, self.exact_steps, strict=True):
            rows += [self._row("tune", batch_size, a, 0, t) for a, t in zip(self.step_sizes, steps, strict=True)]
            best = int(np.argmin(steps))
            for seed in range(self.num_seeds):
                dilation = math.exp(self.spread * rng.standard_normal())
                step_size, exact = self.step_sizes[best], steps[best]
                row = self._row("final", batch_size, step_size, seed, exact * dilation)
                rows.append(self._with_history(row, dilation) if history else row)
        return rows

    @cached_property
    def exact_steps(self) -> Array:
        """[m, G] the model's own steps to target."""
        return self.model.table(self.batch_sizes, self.step_sizes)

    def _checks(self, batch_size: int) -> Integers:
        """[max_epochs * evaluations_per_epoch] the steps at which the target is checked."""
        per_epoch = math.ceil(self.num_examples / batch_size)
        within = np.ceil(per_epoch * np.arange(1, self.evaluations_per_epoch + 1) / self.evaluations_per_epoch)
        checks = (np.arange(self.max_epochs)[:, None] * per_epoch + within).astype(np.int64)
        return checks.ravel()

    def _row(self, phase: str, batch_size: int, step_size: float, seed: int, steps: float) -> Row:
        """A run that meets the target after `steps` (inf: never), seen at the first check from there on."""
        checks = self._checks(batch_size)
        index = int(np.searchsorted(checks, steps))
        unstable = step_size >= self.model.largest_stable_step
        reached = index < len(checks) and not unstable
        outcome = Outcome.REACHED if reached else Outcome.DIVERGED if unstable else Outcome.CENSORED
        index = min(index, len(checks) - 1)
        epochs, step = (index + 1) / self.evaluations_per_epoch, int(checks[index])
        return Row(
            trial_id=f"{self.shape}-{phase}-{batch_size}-{step_size:g}-{seed}",
            study="noisy-quadratic",
            protocol="tuned",
            phase=phase,
            dataset="noisy quadratic",
            data_fingerprint="0" * 16,
            num_examples=self.num_examples,
            family="quadratic",
            shape=self.shape,
            depth=self.depth,
            width=self.width,
            num_weights=len(self.model.curvatures),
            num_parameters=len(self.model.curvatures),
            initialisation=f"E x^2 = {self.model.start:g}",
            optimizer="sgd",
            momentum=0.0,
            batch_size=batch_size,
            step_size=step_size,
            seed=seed,
            sampling="with_replacement",
            dtype="float64",
            target_metric="train_loss",
            target_value=self.model.target,
            max_epochs=self.max_epochs,
            evaluations_per_epoch=self.evaluations_per_epoch,
            outcome=outcome,
            epochs_to_target=epochs if reached else None,
            steps_to_target=step if reached else None,
            epochs_run=epochs,
            steps_run=step,
            train_loss=None if unstable else float(self.model.expected_loss(step, batch_size, step_size)),
            train_accuracy=None,
            heldout_accuracy=None,
            batch_size_bound=None,
        )

    def _with_history(self, row: Row, dilation: float) -> Row:
        """The run's checks, with the loss and B_S of the closed form at the seed's own pace."""
        if row.outcome is Outcome.DIVERGED:
            return row
        checks = self._checks(row.batch_size)[: round(row.epochs_run * self.evaluations_per_epoch)]
        steps = np.floor(checks / dilation)
        losses = self.model.expected_loss(steps, row.batch_size, row.step_size)
        bounds = self.model.batch_size_bound(steps, row.batch_size, row.step_size)
        history = tuple(
            Evaluation((k + 1) / self.evaluations_per_epoch, int(step), float(loss), batch_size_bound=float(bound))
            for k, (step, loss, bound) in enumerate(zip(checks, losses, bounds, strict=True))
        )
        return replace(row, history=history, train_loss=history[-1].train_loss, batch_size_bound=float(bounds.mean()))
