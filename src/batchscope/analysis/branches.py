"""`bs.branch_test`: the largest batch that a run could go on with from here, by training branches of it. No torch.

After Merrill et al. (2025), "Critical Batch Size Revisited": from a checkpoint of a run with batch size B, train
branches with k B for k = 1, 2, 4, ..., the step size scaled by a rule, all on the same number of examples, and compare
their smoothed losses. The critical batch size at that moment is the largest k B whose loss is not worse than that of B
by more than a tolerance. It needs no assumption about curvature or noise; what it costs is the branches.

They train one branch for each k and compare its loss with the tolerance. Here several seeds (orders of the data) are
trained for each k, and the comparison is a test; the tests, what they do about many k, and "undecided" are ours:

* d = loss of k B minus loss of B, paired by seed. "not worse": d < tolerance, by a one-sided t-test; "worse": d >
  tolerance, likewise. What neither test shows is undecided.
* "not worse" is tested for k = 2, 4, ... upwards and ends at the first k that is not shown; "worse" from the largest k
  downwards. Tests in an order that is fixed beforehand need no correction for their number (Westfall and Krishen 2001).
  Each of the two takes half of 1 - level, so the statement "at least A, below C" errs in at most 1 - level of studies.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from scipy.special import bdtrc, stdtr, stdtrit

from batchscope.analysis.formatting import batch_size, fields_of, number, rendered, text_table
from batchscope.analysis.intervals import LEVEL
from batchscope.errors import InputError, choose

NOT_WORSE, WORSE, UNDECIDED_BRANCH = "not worse", "worse", "undecided"
STEP_SIZE_RULES: dict[str, Callable[[int], float]] = {
    "linear": lambda k: float(k),  # Goyal et al. 2017, for SGD
    "square root": lambda k: math.sqrt(k),  # Merrill et al. 2025, for Adam; Malladi et al. 2022
    "constant": lambda k: 1.0,
}
SMOOTHING = 0.1  # of a branch's examples: what its losses are averaged over, exponentially (assumption)
TOLERANCE = 0.01  # in units of the loss (assumption: a hundredth of a nat)


class BranchLoop(Protocol):
    """A training loop that can start over from a checkpoint: what `branch_test` needs of yours.

    batch_size, step_size: those of the run at the checkpoint.
    """

    @property
    def batch_size(self) -> int:
        """B, examples per step."""
        ...

    @property
    def step_size(self) -> float:
        """That goes with B."""
        ...

    def branch(self, batch_size: int, step_size: float, seed: int, num_examples: int) -> Iterable[tuple[float, float]]:
        """Load the checkpoint (weights and the optimizer's state), train on `num_examples` examples in an order that
        `seed` decides, and yield (examples seen so far, loss) along the way: the loss of each batch before its step, or
        of an evaluation set now and then. A loss that is not finite ends the branch."""
        ...


@dataclass(frozen=True)
class Branch:
    """What the branches of one k say.

    difference: mean over seeds of the smoothed loss minus that of k = 1; interval: `level`, Student's, of this k alone.
    p_not_worse, p_worse: p-values of the one-sided tests, 1 where they cannot be made. num_diverged: of the seeds.
    decision: "not worse", "worse" or "undecided", with all k looked at.
    """

    k: int
    batch_size: int
    step_size: float
    difference: float
    interval: tuple[float, float]
    p_not_worse: float
    p_worse: float
    num_diverged: int
    decision: str = UNDECIDED_BRANCH


@dataclass(frozen=True)
class BranchTest:
    """The largest batch size that is not worse, as far as the branches tell.

    at_least: the largest k up to which all are shown to be not worse (1 at least). below: the smallest k from which all
    are shown to be worse, None where none is. The answer lies in [at_least, below) in `level` of studies. n: seeds.
    """

    branches: tuple[Branch, ...]
    at_least: int
    below: int | None
    batch_size: int
    rule: str
    tolerance: float
    level: float
    n: int

    @property
    def is_decided(self) -> bool:
        """Whether no k tested is left between what is shown to be not worse and what is shown to be worse."""
        between = [one.k for one in self.branches if one.decision == UNDECIDED_BRANCH]
        return not between

    @property
    def statement(self) -> str:
        """The answer in one sentence."""
        size = self.batch_size
        least = f"at least {batch_size(self.at_least * size)} ({self.at_least} x {size})"
        most = "" if self.below is None else f", below {batch_size(self.below * size)} ({self.below} x {size})"
        between = [str(one.k) for one in self.branches if one.decision == UNDECIDED_BRANCH]
        left = f"; undecided at k = {', '.join(between)}: more seeds or a longer branch would tell" if between else ""
        beyond = "; every k tested is not worse: test larger ones" if self.below is None and not between else ""
        return (
            f"the run can go on with a batch of {least}{most} without a loss more than {number(self.tolerance)} above "
            f"its own (step size by the {self.rule} rule, {100 * self.level:.0f} %, n = {self.n} seeds; after Merrill "
            f"et al. 2025){left}{beyond}"
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return fields_of(self, branches=[fields_of(one) for one in self.branches], statement=self.statement)

    def __str__(self) -> str:
        heads = ("k", "batch size", "step size", "loss above that of k = 1", "diverged", "decision")
        lines = [
            (
                str(one.k), batch_size(one.batch_size), number(one.step_size),
                f"{one.difference:.4g} [{one.interval[0]:.4g}, {one.interval[1]:.4g}]", str(one.num_diverged),
                one.decision,
            )
            for one in self.branches
        ]  # fmt: skip
        return f"{rendered(text_table(heads, lines, left=('decision',)))}\n{self.statement}"


def branch_test(
    loop: BranchLoop,
    *,
    num_examples: int,
    ks: Sequence[int] = (2, 4, 8),
    seeds: int | Sequence[int] = 5,
    rule: str = "square root",
    tolerance: float = TOLERANCE,
    smoothing: float = SMOOTHING,
    level: float = LEVEL,
) -> BranchTest:
    """Train branches of a run from its checkpoint with k times its batch, and find the largest k that is not worse.

    loop: see `BranchLoop`; of a study's run: `bs.StudyLoop`. num_examples: of each branch; long enough for a difference
    to show, short against the run (Merrill et al. train a small part of the run). ks: besides 1, of course. seeds: how
    many, or which. rule: of the step size, "linear" (SGD), "square root" (Adam) or "constant". tolerance: in units of
    the loss. smoothing: share of a branch's examples over which its losses are averaged, exponentially.

    Costs (1 + number of ks) * seeds * num_examples examples. Raises InputError for fewer than two seeds, ks that are
    not whole numbers above 1, a branch shorter than a batch, and a loop that yields no loss.
    """
    chosen = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    wanted = sorted({1, *ks})
    _check(wanted, chosen, num_examples, loop.batch_size, smoothing)
    factor = STEP_SIZE_RULES[choose("rule of the step size", rule, STEP_SIZE_RULES)]
    losses = {
        k: [_trained(loop, k, factor(k) * loop.step_size, seed, num_examples, smoothing) for seed in chosen]
        for k in wanted
    }
    return decide(losses, loop.batch_size, loop.step_size, rule=rule, tolerance=tolerance, level=level)


def _check(ks: Sequence[int], seeds: Sequence[int], num_examples: int, size: int, smoothing: float) -> None:
    if len(ks) < 2 or any(not isinstance(k, int) or k < 1 for k in ks):
        raise InputError(f"ks = {list(ks)}; expected whole numbers above 1, such as (2, 4, 8)")
    if len(set(seeds)) < 2:
        raise InputError(f"{len(set(seeds))} seeds; expected at least two: the test is over seeds (five decide more)")
    if num_examples < max(ks) * size:
        raise InputError(
            f"num_examples = {num_examples} is less than one batch of {max(ks)} x {size}; expected many of the largest"
        )
    if not 0 < smoothing <= 1:
        raise InputError(f"smoothing = {smoothing}; expected a share of the branch, above 0 and at most 1")


def _trained(loop: BranchLoop, k: int, step_size: float, seed: int, num_examples: int, smoothing: float) -> float:
    """The smoothed loss at the end of one branch; inf where it diverged."""
    curve: list[tuple[float, float]] = []
    for examples, loss in loop.branch(k * loop.batch_size, step_size, seed, num_examples):
        if not math.isfinite(loss):
            return math.inf
        curve.append((float(examples), float(loss)))
    if not curve:
        raise InputError(f"branch(batch_size={k * loop.batch_size}, seed={seed}) yielded no (examples, loss)")
    return smoothed(curve, smoothing * num_examples)


def smoothed(curve: Sequence[tuple[float, float]], span: float) -> float:
    """The exponential average of losses at its last point: a loss counts for the examples since the one before it, and
    by exp(-distance/span) of what lies behind, in examples: so that all k are smoothed alike."""
    examples, losses = (np.array(column) for column in zip(*curve, strict=True))
    widths = np.diff(examples, prepend=0.0)
    weights = widths * np.exp((examples - examples[-1]) / span)
    return float(weights @ losses / weights.sum())


def decide(
    losses: Mapping[int, Sequence[float]],
    size: int,
    step_size: float = math.nan,
    *,
    rule: str = "square root",
    tolerance: float = TOLERANCE,
    level: float = LEVEL,
) -> BranchTest:
    """The test alone, from numbers. losses: k, 1 among them, -> the smoothed losses of its seeds, always in one order.

    A loss that is not finite is a branch that diverged. Raises InputError for losses of different lengths, fewer than
    two seeds, no k = 1 or one that diverged, and a tolerance below 0.
    """
    table = {int(k): np.asarray(values, dtype=float) for k, values in sorted(losses.items())}
    counts = {len(values) for values in table.values()}
    if 1 not in table or len(table) < 2 or len(counts) != 1 or min(counts) < 2:
        raise InputError(
            f"losses of k = {list(table)} with {sorted(counts)} seeds; expected k = 1 and others, two or more "
            "seeds of each"
        )
    if not np.isfinite(table[1]).all():
        raise InputError(
            "the branches with the run's own batch (k = 1) diverged; expected a checkpoint they go on from"
        )
    if not tolerance >= 0 or not 0 < level < 1:
        raise InputError(f"tolerance = {tolerance}, level = {level}: expected at least 0, and between 0 and 1")
    factor = STEP_SIZE_RULES[choose("rule of the step size", rule, STEP_SIZE_RULES)]
    found = [
        _tested(k, values - table[1], size, factor(k) * step_size, tolerance, level)
        for k, values in table.items()
        if k > 1
    ]
    at_least, below = _chains(found, (1 - level) / 2)
    branches = tuple(_decided(one, at_least, below) for one in found)
    return BranchTest(branches, at_least, below, size, rule, tolerance, level, min(counts))


def _tested(k: int, above: Any, size: int, step_size: float, tolerance: float, level: float) -> Branch:
    """One k. above: [n] losses minus those of k = 1, by seed."""
    n, num_diverged = len(above), int((~np.isfinite(above)).sum())
    if num_diverged:  # a t-test has no place for them; how many of n coins show heads has
        heads = int((~(above <= tolerance)).sum())
        p_worse = float(bdtrc(heads - 1, n, 0.5)) if heads else 1.0
        return Branch(k, k * size, step_size, math.inf, (math.nan, math.inf), 1.0, p_worse, num_diverged)
    mean, error = float(above.mean()), float(above.std(ddof=1)) / math.sqrt(n)
    half = float(stdtrit(n - 1, (1 + level) / 2)) * error
    away = mean - tolerance  # without any spread, its sign decides
    p_not_worse = float(stdtr(n - 1, away / error)) if error > 0 else float(away >= 0)
    p_worse = 1 - p_not_worse if away else 1.0
    return Branch(k, k * size, step_size, mean, (mean - half, mean + half), p_not_worse, p_worse, 0)


def _chains(found: Sequence[Branch], alpha: float) -> tuple[int, int | None]:
    """(the largest k of the unbroken chain of "not worse" from below, the smallest of that of "worse" from above)"""
    at_least, below = 1, None
    for one in found:
        if one.p_not_worse > alpha:
            break
        at_least = one.k
    for one in reversed(found):
        if one.p_worse > alpha:
            break
        below = one.k
    return at_least, below


def _decided(one: Branch, at_least: int, below: int | None) -> Branch:
    decision = NOT_WORSE if one.k <= at_least else WORSE if below is not None and one.k >= below else UNDECIDED_BRANCH
    return Branch(**{**vars(one), "decision": decision})
