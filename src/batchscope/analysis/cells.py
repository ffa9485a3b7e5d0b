"""The tidy table: one `Cell` per (shape, batch size), what its seeds did, in numbers with their n and interval.

Definitions, used by every table and figure:

* *epochs to target* and *steps to target*: mean over the seeds of the cell. A seed that ran out of epochs counts with
  the epochs it ran, and the mean is then a lower bound, printed with "≥". A seed that diverged or crashed has no epochs
  and only appears in the outcome counts.
* *interval*: 95 % Student t interval of that mean over seeds on a log scale, as no run takes less than nothing:
  mean * exp(± t(0.975, n - 1) s / (mean sqrt(n))); none for n < 2 or a lower bound.
* *B_S*: batch-size bound n * (gradient diversity), mean over a run's measurements, then over seeds (Yin et al. 2018).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from scipy.special import stdtrit

from batchscope.records.row import Outcome, Row
from batchscope.records.rows import Rows

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Mean:
    """A mean over n seeds: spread (least and most, sample standard deviation; None for n = 1) and 95 % interval."""

    mean: float
    n: int
    least: float
    most: float
    sd: float | None = None
    low: float | None = None
    high: float | None = None
    lower_bound: bool = False

    def __str__(self) -> str:
        if self.lower_bound or self.low is None or self.high is None:
            return f"{'≥ ' if self.lower_bound else ''}{number(self.mean)}"
        return f"{number(self.mean)} [{number(self.low)}, {number(self.high)}]"


@dataclass(frozen=True)
class Cell:
    """One shape at one batch size. `epochs` and `steps` are None when every seed diverged or crashed."""

    shape: str
    depth: int
    width: int
    num_parameters: int
    batch_size: int
    step_size: float | None  # None when the seeds did not share one
    num_seeds: int
    reached: int
    censored: int
    diverged: int
    crashed: int
    epochs: Mean | None
    steps: Mean | None
    batch_size_bound: Mean | None
    seconds: float  # summed over seeds; NaN where not recorded

    @property
    def never(self) -> bool:
        """No seed reached the target."""
        return self.reached == 0

    @property
    def outcomes(self) -> str:
        """Such as "4 reached, 1 censored"."""
        counts = {outcome.value: getattr(self, outcome.value) for outcome in Outcome}
        return ", ".join(f"{count} {name}" for name, count in counts.items() if count)

    @property
    def epochs_text(self) -> str:
        return self._text(self.epochs)

    @property
    def steps_text(self) -> str:
        return self._text(self.steps)

    def _text(self, mean: Mean | None) -> str:
        """Such as "12.3 [11, 13.6]", "≥ 35" (a lower bound), "> 40" (no seed arrived) or "never" (all blew up)."""
        if mean is None:
            return "never"
        return f"> {number(mean.mean)}" if self.never else str(mean)


def number(value: float) -> str:
    """Three significant digits, no powers of ten where a person counts: 0.0123, 12.3, 12 300; "-" for NaN, "∞"."""
    if not math.isfinite(value):
        return "-" if math.isnan(value) else "∞" if value > 0 else "-∞"
    if value == 0:
        return "0"
    rounded = float(f"{value:.3g}")
    if abs(rounded) >= 1e9 or abs(rounded) < 1e-4:
        return f"{rounded:.2e}"
    return f"{rounded:,.0f}".replace(",", " ") if abs(rounded) >= 100 else f"{rounded:g}"


def summarise(values: Sequence[float], lower_bound: bool = False) -> Mean | None:
    """Return mean, spread and interval of `values`; None for no values."""
    if not values:
        return None
    n, mean, least, most = len(values), math.fsum(values) / len(values), min(values), max(values)
    sd = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1)) if n > 1 else None
    if sd is None or lower_bound:
        return Mean(mean, n, least, most, sd, lower_bound=lower_bound)
    half = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * sd / math.sqrt(n)
    factor = math.exp(half / mean) if mean > 0 else 1.0
    return Mean(mean, n, least, most, sd, mean / factor, mean * factor)


def cells(rows: Iterable[Row]) -> tuple[Cell, ...]:
    """Return the cells of the reported runs (phase "final"), from shallow and wide to deep, small batches first."""
    groups = Rows.of(rows).where(phase="final").group_by("depth", "width", "shape", "batch_size")
    return tuple(_cell(groups[key]) for key in sorted(groups, key=lambda key: (key[0], -key[1], *key[2:])))


def _cell(rows: Rows) -> Cell:
    first, outcomes, bounds = rows[0], rows.column("outcome"), rows.column("batch_size_bound")
    counts = {outcome.value: int(np.count_nonzero(outcomes == outcome)) for outcome in Outcome}
    step_sizes = set(rows.entries("step_size"))
    timed = rows.where(outcome=(Outcome.REACHED, Outcome.CENSORED))
    return Cell(
        shape=first.shape,
        depth=first.depth,
        width=first.width,
        num_parameters=first.num_parameters,
        batch_size=first.batch_size,
        step_size=first.step_size if len(step_sizes) == 1 else None,
        num_seeds=len(rows),
        **counts,
        epochs=_to_target(timed, "epochs", lower_bound=counts["censored"] > 0),
        steps=_to_target(timed, "steps", lower_bound=counts["censored"] > 0),
        batch_size_bound=summarise(bounds[np.isfinite(bounds)].tolist()),
        seconds=math.fsum(rows.column("seconds")),
    )


def _to_target(rows: Rows, unit: str, lower_bound: bool) -> Mean | None:
    """Mean "epochs" or "steps" to the target; of a run that ended before, those it ran."""
    to_target, ran = rows.column(f"{unit}_to_target"), rows.column(f"{unit}_run")
    return summarise(np.where(np.isnan(to_target), ran, to_target).tolist(), lower_bound)


def by_shape(table: Iterable[Cell]) -> dict[str, list[Cell]]:
    """Return shape -> its cells, in the table's order."""
    groups: dict[str, list[Cell]] = {}
    for cell in table:
        groups.setdefault(cell.shape, []).append(cell)
    return groups


def batch_sizes(table: Iterable[Cell]) -> list[int]:
    return sorted({cell.batch_size for cell in table})


def tidy(table: Iterable[Cell]) -> list[dict[str, object]]:
    """Return the table as plain records, one flat level below each name: ready for JSON or a data frame."""
    return [asdict(cell) for cell in table]
