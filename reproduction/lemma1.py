"""Lemma 1 against its promise, from the rows of `batchscope run yin2018/lemma1`. Trains nothing.

The lemma: with one step size for the sum over a batch and B <= δ n Δ_S(w) + 1 at every iterate, where serial SGD is at
ε after T gradients, mini-batch SGD is at (1 + δ/2) ε after as many. So at equal passes, for every network and batch
size: how many times the serial suboptimality, against 1 + δ/2 with the least δ that the runs themselves allow,
(B - 1) / min n Δ_S.

    python -m reproduction.lemma1 [results/lemma1]
"""

from __future__ import annotations

import argparse
import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from batchscope.analysis.formatting import number
from batchscope.errors import InputError
from batchscope.records import Outcome, Rows
from batchscope.records.row import Row
from batchscope.studies import Results, Study, read
from batchscope.studies.dataset import DataRequest, load_data
from reproduction.command import ended

RESULTS = Path(__file__).parent.parent / "results" / "lemma1"
SMALLEST = 1e-10  # suboptimality in units of the labels' variance below which rounding and little else is compared
LEVEL = 0.05  # of all passes of a cell together: a break is no accident of one of twenty


@dataclass(frozen=True)
class Line:
    """One network at one batch size.

    delta: (B - 1) / min n Δ_S, the minimum over the passes of all its runs. promise: 1 + delta/2.
    ratio: suboptimality over that of serial SGD, means over n seeds, at the pass where it is largest against the
    promise. low: the lower end of its interval, simultaneous over passes; infinite where a run diverged.
    """

    problem: str
    depth: int
    sum_step_size: float
    batch_size: int
    least_bound: float
    ratio: float
    low: float
    at_pass: int
    n: int

    @property
    def delta(self) -> float:
        return (self.batch_size - 1) / self.least_bound

    @property
    def promise(self) -> float:
        return 1 + self.delta / 2

    @property
    def broken(self) -> bool:
        """Whether the runs are worse than promised at some pass, beyond chance."""
        return self.low > self.promise


def lines(results: Results) -> list[Line]:
    """Every network and batch size above 1, in the order of the studies."""
    found: list[Line] = []
    for study in results.studies:
        rows = Rows.of(results.of(study.name).rows).where(phase="final")
        floor = least_loss(study)
        for shape in dict.fromkeys(rows.entries("shape")):
            found += _of_shape(study, rows.where(shape=shape), floor)
    return found


def _of_shape(study: Study, rows: Rows, floor: float) -> Iterator[Line]:
    if study.sum_step_size is None or not rows.where(batch_size=1):
        raise InputError(
            f"study {study.name!r} has no runs of serial SGD under one step size for the sum; expected the "
            "directory of a run of yin2018/lemma1"
        )
    serial = _suboptimality(list(rows.where(batch_size=1)), study.max_epochs, floor)
    for batch_size in study.batch_sizes[1:]:
        runs = list(rows.where(batch_size=batch_size))
        least = min(entry.batch_size_bound or math.inf for run in runs for entry in run.history)
        promise = 1 + (batch_size - 1) / least / 2
        ratio, low = ratios(_suboptimality(runs, study.max_epochs, floor), serial)
        worst = int(np.argmax(low / promise))
        problem = study.name.removeprefix("yin2018-lemma1-").rsplit("-", 1)[0]
        at = (float(ratio[worst]), float(low[worst]), worst + 1, len(runs))
        yield Line(problem, runs[0].depth, study.sum_step_size, batch_size, least, *at)


def _suboptimality(runs: Sequence[Row], passes: int, floor: float) -> NDArray[np.float64]:
    """[seeds, passes] loss above its least after each pass; infinite from where a run diverged."""
    found = np.full((len(runs), passes), np.inf)
    for losses, run in zip(found, sorted(runs, key=lambda row: row.seed), strict=True):
        done = [entry.train_loss for entry in run.history[1:] if math.isfinite(entry.train_loss)]
        losses[: len(done)] = np.array(done) - floor
        assert len(done) == passes or run.outcome == Outcome.DIVERGED
    return found


def ratios(
    batched: NDArray[np.float64], serial: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """([passes] ratio of the means over seeds, [passes] lower end of its interval), seeds paired.

    On the log scale by the delta method, Student's quantile, Bonferroni's correction over passes. Passes at which
    serial SGD is within rounding of the least loss have ratio 1 and no lower end: nothing is compared there.
    """
    n, passes = batched.shape
    means = batched.mean(axis=0), serial.mean(axis=0)
    with np.errstate(invalid="ignore", over="ignore"):
        spread = (batched / means[0] - serial / means[1]).std(axis=0, ddof=1) / math.sqrt(n)
        ratio = means[0] / means[1]
        low = np.where(np.isinf(means[0]), np.inf, ratio * np.exp(-stats.t.ppf(1 - LEVEL / passes, n - 1) * spread))
    compared = means[1] > SMALLEST
    return np.where(compared, ratio, 1.0), np.where(compared, low, 0.0)


def least_loss(study: Study) -> float:
    """The least training loss of a linear network, ½ of the mean squared residual of least squares; 0 without noise.

    For ReLU nets 0, which bounds it from below: ratios are then nearer to 1 than those of the suboptimality.
    """
    if not study.dataset_options.get("noise"):
        return 0.0
    data = load_data(DataRequest.of(study))
    inputs = np.hstack([data.inputs.astype(np.float64), np.ones((data.num_examples, 1))])
    targets = data.targets.astype(np.float64)
    weights = np.linalg.lstsq(inputs, targets, rcond=None)[0]
    return float(((inputs @ weights - targets) ** 2).sum(axis=1).mean() / 2)


@functools.cache
def committed() -> tuple[Line, ...]:
    """The lines of the committed rows."""
    return tuple(lines(read(RESULTS)))


def largest_kept(found: Sequence[Line]) -> int:
    """The batch size of one network below the first at which the promise is broken; 1 where the first one breaks."""
    kept = 1
    for line in found:
        if line.broken:
            break
        kept = line.batch_size
    return kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, nargs="?", default=RESULTS)
    heads = ("problem", "L", "gamma", "B", "min B_S", "delta", "promise", "ratio", "low", "pass", "")
    found = lines(read(parser.parse_args().directory))
    print("".join(f"{head:>14s}" for head in heads))
    for line in found:
        values = (line.sum_step_size, line.batch_size, line.least_bound, line.delta, line.promise, line.ratio, line.low)
        cells = (line.problem, str(line.depth), *map(number, values), str(line.at_pass), "broken" * line.broken)
        print("".join(f"{cell:>14s}" for cell in cells))


if __name__ == "__main__":
    raise SystemExit(ended("lemma1", main))
