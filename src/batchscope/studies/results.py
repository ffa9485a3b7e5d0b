"""`Results`: the rows of a run directory and their summary, one line per (architecture, batch size). No torch."""

from __future__ import annotations

import dataclasses
import functools
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchscope.errors import InputError, StoreError
from batchscope.records.reading import read_rows, read_runs
from batchscope.records.row import Outcome, Row
from batchscope.records.rows import Rows
from batchscope.studies.study import Study
from batchscope.studies.study_file import Studies, read_studies
from batchscope.studies.trial import FINAL, TUNE

STUDY_FILE = "study.toml"


@dataclass(frozen=True)
class CellSummary:
    """What the reported runs of one architecture at one batch size came to.

    step_size: the tuned one; None before tuning ended. grid_widened: step sizes tried beyond the study's grid;
    at_grid_edge: the tuned one is still the smallest or largest tried.
    reached, censored, diverged, crashed: number of reported runs with that outcome.
    epochs_*: passes over the data to the target: over the runs that reached it for min and max; mean, sd (n - 1) and
    interval (95 %, Student's t on a log scale, over seeds) are None unless every run that did not crash reached it.
    epochs_median: counts a run that never reached the target as infinitely long; None when the median is one of those.
    batch_size_bound: mean B_S over the reported runs' measurements (examples); None when not measured.
    """

    study: str
    dataset: str
    shape: str
    depth: int
    width: int
    num_weights: int
    batch_size: int
    step_size: float | None
    grid_widened: int
    at_grid_edge: bool
    reached: int
    censored: int
    diverged: int
    crashed: int
    epochs_mean: float | None
    epochs_median: float | None
    epochs_min: float | None
    epochs_max: float | None
    epochs_sd: float | None
    epochs_interval: tuple[float, float] | None
    steps_mean: float | None
    heldout_accuracy: float | None
    batch_size_bound: float | None
    seconds: float


@dataclass(frozen=True)
class Table:
    """Summaries by study, depth, width and batch size; iterate over it, index it, or print it."""

    cells: tuple[CellSummary, ...]

    def __iter__(self) -> Iterator[CellSummary]:
        return iter(self.cells)

    def __len__(self) -> int:
        return len(self.cells)

    def __getitem__(self, index: int) -> CellSummary:
        return self.cells[index]

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return one plain dictionary per line, ready for json or a data frame."""
        return [dataclasses.asdict(cell) for cell in self.cells]

    def __str__(self) -> str:
        heads = ("study", "shape", "B", "step size", "epochs", "min-max", "outcomes")
        lines = [heads, *(_words(cell) for cell in self.cells)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        text = ["  ".join(w.ljust(n) for w, n in zip(line, widths, strict=True)).rstrip() for line in lines]
        widened = any(cell.grid_widened for cell in self.cells)
        return "\n".join([*text, "* the grid of step sizes was widened"] if widened else text)


@dataclass(frozen=True)
class Results:
    """rows: all rows, by study, shape, batch size, phase, step size and seed. studies: what was asked for, one or more.

    runs: one record per call of `run` that wrote them (started, command, versions, commit, machine, executor,
    workers, device, shard), the oldest first.
    """

    rows: Sequence[Row]
    studies: Studies
    runs: tuple[dict[str, Any], ...] = ()

    @property
    def study(self) -> Study:
        """The study, where there is one; see `studies` for directories that hold several."""
        if len(self.studies) != 1:
            raise InputError(f"these are results of {len(self.studies)} studies; use .studies")
        return self.studies[0]

    def of(self, study: str) -> Results:
        """Return the results of one named study."""
        chosen = tuple(one for one in self.studies if one.name == study)
        if not chosen:
            raise InputError(f"no study {study!r} here; expected one of {[one.name for one in self.studies]}")
        return Results(Rows.of(self.rows).where(study=study), chosen, self.runs)

    def table(self) -> Table:
        """Return one summary per (architecture, batch size) that has at least one row."""
        grouped = Rows.of(self.rows).group_by("study", "depth", "width", "batch_size")
        studies = {study.name: study for study in self.studies}
        return Table(tuple(summarise(grouped[key], studies[key[0]]) for key in sorted(grouped)))

    def count(self, outcome: Outcome) -> int:
        """Return the number of trials, tuning included, that ended so."""
        return len(Rows.of(self.rows).where(outcome=outcome))


def read(directory: str | Path) -> Results:
    """Read a run directory, finished or not; torch is not needed. Raises StoreError if it is none, or damaged."""
    studies = read_study_file(directory)
    rows = read_rows(directory)
    return Results(rows.where(study=tuple(study.name for study in studies)), studies, read_runs(directory))


def read_study_file(directory: str | Path) -> Studies:
    """Return the studies a run directory holds."""
    path = Path(directory) / STUDY_FILE
    if not path.is_file():
        raise StoreError(f"{directory} is not a run directory: it has no {STUDY_FILE}; expected the --out of a run")
    return read_studies(path)


def summarise(rows: Sequence[Row], study: Study) -> CellSummary:
    """Summarise all rows of one cell."""
    tuning = [row for row in rows if row.phase == TUNE]
    finals = [row for row in rows if row.phase == FINAL]
    first, tried = rows[0], [row.step_size for row in tuning]
    step_size = finals[0].step_size if finals else None
    return CellSummary(
        study=first.study,
        dataset=first.dataset,
        shape=first.shape,
        depth=first.depth,
        width=first.width,
        num_weights=first.num_weights,
        batch_size=first.batch_size,
        step_size=step_size,
        grid_widened=sum(step not in study.step_sizes for step in tried),
        at_grid_edge=len(tried) > 1 and step_size in (min(tried), max(tried)),
        **_outcomes(finals),
        **_epochs(finals),
        heldout_accuracy=_mean([row.heldout_accuracy for row in finals]),
        batch_size_bound=_mean([row.batch_size_bound for row in finals]),
        seconds=math.fsum(row.seconds for row in rows if math.isfinite(row.seconds)),
    )


def _outcomes(finals: Sequence[Row]) -> dict[str, Any]:
    return {outcome.value: sum(row.outcome == outcome for row in finals) for outcome in Outcome}


def _epochs(finals: Sequence[Row]) -> dict[str, Any]:
    valid = [row for row in finals if row.outcome != Outcome.CRASHED]
    epochs = sorted(row.epochs_to_target for row in valid if row.epochs_to_target is not None)
    complete = bool(epochs) and len(epochs) == len(valid)
    mean = statistics.fmean(epochs) if complete else None
    sd = statistics.stdev(epochs) if complete and len(epochs) > 1 else None
    median = statistics.median([*epochs, *[math.inf] * (len(valid) - len(epochs))]) if valid else math.inf
    return {
        "epochs_mean": mean,
        "epochs_median": median if math.isfinite(median) else None,
        "epochs_min": epochs[0] if epochs else None,
        "epochs_max": epochs[-1] if epochs else None,
        "epochs_sd": sd,
        "epochs_interval": None if mean is None or sd is None else _interval(mean, sd, len(epochs)),
        "steps_mean": _mean([row.steps_to_target for row in valid]) if complete else None,
    }


def _interval(mean: float, sd: float, n: int) -> tuple[float, float]:
    """On a log scale: a run of less than no epochs does not exist."""
    factor = math.exp(_student_quantile(n - 1) * sd / (mean * math.sqrt(n)))
    return mean / factor, mean * factor


@functools.cache
def _student_quantile(degrees: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(degrees, 0.975))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def _words(cell: CellSummary) -> tuple[str, ...]:
    runs = cell.reached + cell.censored + cell.diverged + cell.crashed
    counts = {"reached": cell.reached, "never": cell.censored, "diverged": cell.diverged, "crashed": cell.crashed}
    outcomes = ", ".join(f"{count} {word}" for word, count in counts.items() if count) if runs else "not yet run"
    epochs = "-" if cell.epochs_median is None else f"{cell.epochs_median:.1f} (median)"
    if cell.epochs_mean is not None:
        epochs = f"{cell.epochs_mean:.1f}"
    return (
        cell.study,
        cell.shape,
        str(cell.batch_size),
        "-" if cell.step_size is None else f"{cell.step_size:g}" + ("*" if cell.grid_widened else ""),
        epochs,
        "-" if cell.epochs_min is None else f"{cell.epochs_min:g}-{cell.epochs_max:g}",
        outcomes,
    )
