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
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from scipy.special import stdtrit

from batchscope.records import Outcome, Row

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
    groups: dict[tuple[int, int, str, int], list[Row]] = {}
    for row in rows:
        if row.phase == "final":
            groups.setdefault((row.depth, -row.width, row.shape, row.batch_size), []).append(row)
    return tuple(_cell(groups[key]) for key in sorted(groups))


def _cell(rows: Sequence[Row]) -> Cell:
    first, counts = rows[0], Counter(row.outcome for row in rows)
    timed = [row for row in rows if row.outcome in (Outcome.REACHED, Outcome.CENSORED)]
    step_sizes = {row.step_size for row in rows}
    bounds = [row.batch_size_bound for row in rows if row.batch_size_bound is not None]
    return Cell(
        shape=first.shape,
        depth=first.depth,
        width=first.width,
        num_parameters=first.num_parameters,
        batch_size=first.batch_size,
        step_size=first.step_size if len(step_sizes) == 1 else None,
        num_seeds=len(rows),
        **{outcome.value: counts[outcome] for outcome in Outcome},
        epochs=summarise([_or(row.epochs_to_target, row.epochs_run) for row in timed], counts[Outcome.CENSORED] > 0),
        steps=summarise([_or(row.steps_to_target, row.steps_run) for row in timed], counts[Outcome.CENSORED] > 0),
        batch_size_bound=summarise([bound for bound in bounds if math.isfinite(bound)]),
        seconds=math.fsum(row.seconds for row in rows),
    )


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


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
