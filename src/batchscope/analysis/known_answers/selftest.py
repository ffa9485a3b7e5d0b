"""The whole chain of analysis run on problems whose answer is known."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from batchscope.analysis.fit.critical_batch import fit, fit_critical_batch
from batchscope.analysis.fit.critical_batch_fit import CriticalBatchFit
from batchscope.analysis.formatting import bounds_text
from batchscope.analysis.gate import require
from batchscope.analysis.known_answers.check import Check
from batchscope.analysis.known_answers.oracles import IMAGENET_EXAMPLES, MLPERF_RESNET50, NoisyQuadratic, QuadraticStudy
from batchscope.analysis.known_answers.planted_checks import PLANTED_CHECKS
from batchscope.analysis.thresholds import batch_threshold
from batchscope.analysis.tuning import guard
from batchscope.analysis.verdict import compare
from batchscope.records.row import Outcome, Row

BATCH_SIZES = tuple(2**k for k in range(2, 15))
STEP_SIZES = tuple(float(2 ** (k / 2)) for k in range(-14, 2))


def selftest() -> tuple[Check, ...]:
    """Run every check; takes a few seconds."""
    return tuple(check for group in CHECKS for check in group())


def near(name: str, source: str, expected: float, got: float, tolerance: float) -> Check:
    """A check that `got` lies within a relative `tolerance` of `expected`."""
    passed = abs(got - expected) <= tolerance * abs(expected)
    text = f"{expected:g} within {100 * tolerance:g} %"
    return Check(name, source, text, f"{got:.4g}" if got < 1e4 else f"{got:.0f}", passed)


def published_points() -> Iterator[Check]:
    """MLPerf's ResNet-50 submissions."""
    batch_sizes, epochs = (np.array(list(part), float) for part in (MLPERF_RESNET50, MLPERF_RESNET50.values()))
    fitted = fit_critical_batch(batch_sizes, epochs * IMAGENET_EXAMPLES / batch_sizes)
    source = "MLPerf ResNet-50, 10 published batch sizes"
    yield near("critical batch size", source, 47_000, fitted.b_crit, 0.02)
    yield near("epochs at small batches (E_min)", source, 34.7, fitted.e_min / IMAGENET_EXAMPLES, 0.01)


def censored_hyperbola() -> Iterator[Check]:
    """Runs drawn from steps = 100 (1 + 400/B), seen at checks only, the large batches cut off."""
    rng = np.random.default_rng(1)
    batch_sizes = np.repeat(2.0 ** np.arange(5, 13), 5)
    steps = 100 * (1 + 400 / batch_sizes) * np.exp(0.1 * rng.standard_normal(len(batch_sizes)))
    check = np.maximum(1.0, 2500 / batch_sizes)
    seen = np.ceil(steps / check) * check
    stopped = seen > 400_000 / batch_sizes
    steps = np.where(stopped, 400_000 / batch_sizes, seen)
    fitted = fit_critical_batch(batch_sizes, steps, stopped, steps_before=seen - check)
    source = f"40 runs drawn from it, {stopped.sum()} cut off before the target"
    low, high = fitted.interval
    got = f"{fitted.text} {bounds_text(fitted.interval)}"
    yield Check("B_crit = 400 despite censoring", source, "interval holds 400", got, low <= 400 <= high)
    naive = fit_critical_batch(batch_sizes[~stopped], steps[~stopped])
    got = f"{naive.b_crit:.4g} without those runs, {fitted.b_crit:.4g} with them"
    closer = abs(math.log(fitted.b_crit / 400)) < abs(math.log(naive.b_crit / 400))
    yield Check("censored runs are used, not dropped", source, "nearer to 400 with them", got, closer)


@cache
def quadratic_studies() -> tuple[QuadraticStudy, QuadraticStudy]:
    """Two noisy quadratics of equal size: flat spectrum ("wide", takes large batches), steep spectrum ("deep")."""
    flat = NoisyQuadratic.of_size(1000, power=0.5)
    steep = NoisyQuadratic.of_size(1000, power=1.0)
    common = {"batch_sizes": BATCH_SIZES, "step_sizes": STEP_SIZES, "num_examples": 65_536, "spread": 0.05}
    return (
        QuadraticStudy(flat, shape="flat", depth=1, width=2, **common),  # type: ignore[arg-type]
        QuadraticStudy(steep, shape="steep", depth=2, width=1, seed=1, **common),  # type: ignore[arg-type]
    )


@cache
def quadratic_rows() -> tuple[Row, ...]:
    """The runs of both, as a study stores them."""
    return tuple(row for study in quadratic_studies() for row in study.rows())


def quadratic_curve() -> Iterator[Check]:
    """The fitted curve against the exact steps of the model."""
    study = quadratic_studies()[1]
    exact = study.exact_steps.min(axis=1)
    source = "noisy quadratic, 1000 curvatures 1/i, closed form"
    sharp = fit_critical_batch(BATCH_SIZES, exact, sharpness=True)
    yield within("steps at 13 batch sizes, sharpness fitted", source, 0.03, _worst(sharp, exact))
    runs = fit(study.rows(), "steep", sharpness=True)
    yield within("the same from 65 noisy runs seen at checks", source, 0.10, _worst(runs, exact))
    plain_fit = fit(study.rows(), "steep")
    got = f"lack of fit p = {plain_fit.misfit:.1g}, worst deviation {100 * _worst(plain_fit, exact):.0f} %"
    yield Check("the plain hyperbola is found wrong", source, "p < 0.01", got, plain_fit.misfit < 0.01)


def _worst(fitted: CriticalBatchFit, exact: np.ndarray[Any, Any]) -> float:
    return float(np.abs(np.log(fitted.predicted(BATCH_SIZES) / exact)).max())


def within(name: str, source: str, limit: float, got: float) -> Check:
    """A check that a relative deviation stays below a limit."""
    return Check(name, source, f"at most {100 * limit:g} % off", f"{100 * got:.2g} % off", got <= limit)


def quadratic_thresholds() -> Iterator[Check]:
    """B* from noisy runs against B* of the exact curve, tuned step size and verdict."""
    rows = list(quadratic_rows())
    source = "noisy quadratic, exact steps on a fine grid of batch sizes"
    for study in quadratic_studies():
        threshold = batch_threshold(rows, "overhead_20", study.shape)
        low, high = threshold.interval
        expected = _exact_overhead(study)
        got = f"{threshold.text} {threshold.interval_text}"
        name = f"20 % overhead, {study.shape} spectrum"
        yield Check(name, source, f"interval holds {expected:.4g}", got, low <= expected <= high)
    guarded = guard(rows)
    chosen = {(cell.shape, cell.batch_size): cell.step_size for cell in guarded.cells}
    best = {
        (study.shape, B): study.step_sizes[int(k)]
        for study in quadratic_studies()
        for B, k in zip(study.batch_sizes, study.exact_steps.argmin(axis=1), strict=True)
    }
    agree = sum(chosen[key] == best[key] for key in best)
    yield Check(
        "tuned step sizes", "closed form", f"{len(best)} of {len(best)}", f"{agree} of {len(best)}", agree == len(best)
    )


def _exact_overhead(study: QuadraticStudy) -> float:
    """Where examples to target first exceed 1.2 times the fewest, straight in log-log on a grid of ratio 2^(1/4)."""
    fine = np.exp2(np.arange(2, 14.01, 0.25))
    step_sizes = np.exp2(np.arange(-7, 0.76, 0.125))
    near_best = np.interp(np.log2(fine), np.log2(study.batch_sizes), np.log2(_best_steps(study)))
    steps = np.array(
        [
            min(study.model.steps_to_target(B, a) for a in step_sizes[np.abs(np.log2(step_sizes) - guess) < 0.8])
            for B, guess in zip(fine, near_best, strict=True)
        ]
    )
    examples = np.log(steps * fine)
    limit = math.log(1.2) + np.minimum.accumulate(examples)
    first = int((examples > limit).argmax())
    share = (limit[first - 1] - examples[first - 1]) / (examples[first] - examples[first - 1])
    return float(fine[first - 1] * (fine[first] / fine[first - 1]) ** share)


def _best_steps(study: QuadraticStudy) -> list[float]:
    return [study.step_sizes[int(k)] for k in study.exact_steps.argmin(axis=1)]


def verdicts() -> Iterator[Check]:
    """A difference that is there is found, one that is not is left undecided, and the gate says the same."""
    rows = list(quadratic_rows())
    source = "two noisy quadratics, critical batch size"
    verdict = compare(rows, "wide", "deep", "b_crit")
    got = f"{verdict.decision}, probability {verdict.probability:.3f}"
    yield Check(
        "the flat spectrum takes larger batches", source, "wide, at least 0.95", got, verdict.decision == "wide"
    )
    study = quadratic_studies()[0]
    again = [replace(row, shape="twin", depth=2) for row in replace(study, seed=2).rows()]
    twin = compare(study.rows() + again, "wide", "deep", "b_crit")
    got = f"{twin.decision}, probability {twin.probability:.3f}"
    yield Check("the same problem with other seeds", source, "undecided", got, twin.decision == "undecided")
    lost = [replace(row, outcome=Outcome.DIVERGED, epochs_to_target=None, steps_to_target=None) for row in rows]
    answers = [
        require(rows, "b_threshold(wide, b_crit) >= 1024 and probability(wide, deep, b_crit) > 0.95").passed,
        require(rows, "b_threshold(deep, b_crit) >= 1024").passed,
        require(lost, "b_threshold(wide) >= 1").passed,
    ]
    expected = [True, False, False]
    yield Check("gates: true, false, nothing reached", source, str(expected), str(answers), answers == expected)


CHECKS: tuple[Callable[[], Iterator[Check]], ...] = (
    published_points,
    censored_hyperbola,
    quadratic_curve,
    quadratic_thresholds,
    verdicts,
    *PLANTED_CHECKS,
)
