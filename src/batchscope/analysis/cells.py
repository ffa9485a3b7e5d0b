"""The one summary of a cell (a shape at a batch size), which `run`, report, gate, export and every chart read.

* *epochs to target* and *steps to target*: the median over seeds with its 95 % interval, from the censored likelihood
  of a lognormal (`fit.arrivals`): a target is met somewhere between two checks, a seed that ran out of epochs took
  longer, one that diverged is slower than all that arrived, one that crashed says nothing. Where none arrived, or
  so few that the median lies beyond the epochs allowed, only a bound is known ("> 40"); where all arrived by the first
  check, "<= 1".
* *B_S*: batch-size bound n * (gradient diversity), mean over a run's measurements, then over seeds (Yin et al. 2018),
  with its 95 % Student t interval on a log scale: mean * exp(± t(0.975, n - 1) s / (mean sqrt(n))).
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from batchscope.analysis.fit.arrivals import typical_times
from batchscope.analysis.formatting import WIDTH, plain, rendered, spread, text_table
from batchscope.analysis.summaries import Summary, median_of, scaled, summarise
from batchscope.analysis.sweeps import Booleans, Sweep, shape_order, sweep_of
from batchscope.records.row import Outcome, Row
from batchscope.records.rows import Column, Rows

EPOCHS_MEANING = (
    "epochs to target: median over seeds [95 % interval], between the checks at which the target was missed and met, "
    "seeds that ran out of epochs included; >: the median lies beyond that."
)


@dataclass(frozen=True)
class Cell:
    """One shape at one batch size: its reported (final) runs, and how their step size was found.

    step_size: of the reported runs; None when they did not share one, or have not been run. num_step_sizes: tried in
    tuning; at_grid_edge: the chosen one is the smallest or largest of several tried. reached, censored, diverged,
    crashed: reported runs with that outcome. epochs, steps (to the target): None when every seed diverged or crashed.
    batch_size_bound: B_S (examples), None when not measured. heldout_accuracy: mean over seeds, NaN without any.
    seconds: of all runs, tuning included; those not recorded are left out.
    """

    study: str
    dataset: str
    shape: str
    depth: int
    width: int
    num_weights: int
    num_parameters: int
    batch_size: int
    step_size: float | None
    num_step_sizes: int
    at_grid_edge: bool
    num_seeds: int
    reached: int
    censored: int
    diverged: int
    crashed: int
    epochs: Summary | None
    steps: Summary | None
    batch_size_bound: Summary | None
    heldout_accuracy: float
    seconds: float

    @property
    def never(self) -> bool:
        """No seed reached the target."""
        return self.reached == 0

    @property
    def outcomes(self) -> str:
        """Such as "4 reached, 1 censored"; "not yet run" before the first reported run."""
        counts = {outcome.value: getattr(self, outcome.value) for outcome in Outcome}
        return ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "not yet run"

    @property
    def step_size_text(self) -> str:
        """Such as "0.16", with "*" where it lies at the edge of those tried; "-" without one."""
        return "-" if self.step_size is None else f"{self.step_size:g}{'*' if self.at_grid_edge else ''}"

    @property
    def epochs_text(self) -> str:
        """Such as "12.3 [11, 13.6]", "> 40" (the median lies beyond) or "never" (all diverged or crashed)."""
        return self._text(self.epochs)

    @property
    def steps_text(self) -> str:
        """The same of update steps."""
        return self._text(self.steps)

    @property
    def seeds_text(self) -> str:
        """The fewest and the most epochs of the seeds, "7 - 13"; "-" where none arrived."""
        return "-" if self.epochs is None or self.never else spread(self.epochs.least, self.epochs.most)

    @property
    def words(self) -> tuple[str, ...]:
        """Shape, batch size, step size, epochs, epochs of the seeds, steps and outcomes, as tables print them."""
        steps = self.steps_text.partition(" [")[0]  # its interval is that of the epochs
        texts = (self.step_size_text, self.epochs_text, self.seeds_text, steps, self.outcomes)
        return (self.shape, str(self.batch_size), *texts)

    def _text(self, summary: Summary | None) -> str:
        if not self.num_seeds:
            return "-"
        if summary is None:
            return "never"
        return str(summary)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: NaN is None."""
        record: dict[str, Any] = plain(asdict(self))
        return record


EDGE_NOTE = "* the step size lies at the edge of those tried"


@dataclass(frozen=True)
class CellTable:
    """Cells by study, shape (shallow and wide first) and batch size; iterate over it, index it, or print it."""

    cells: tuple[Cell, ...]

    def __iter__(self) -> Iterator[Cell]:
        return iter(self.cells)

    def __len__(self) -> int:
        return len(self.cells)

    def __getitem__(self, index: int) -> Cell:
        return self.cells[index]

    def to_dicts(self) -> list[dict[str, Any]]:
        """One dictionary per cell, ready for JSON or a data frame."""
        return [cell.as_dict() for cell in self.cells]

    def __str__(self) -> str:
        """A table in 100 columns for every study, with what the numbers mean below."""
        heads = ("shape", "batch size", "step size", "epochs to target", "seeds", "steps", "outcomes")
        studies: dict[str, list[Cell]] = {}
        for cell in self.cells:
            studies.setdefault(cell.study, []).append(cell)
        tables = [
            text_table(heads, [cell.words for cell in group], study if len(studies) > 1 else "", ("shape", "outcomes"))
            for study, group in (studies or {"": []}).items()
        ]
        notes = (textwrap.fill(note, WIDTH) for note in self.notes)
        return "\n".join([*(f"{rendered(table)}\n" for table in tables), *notes])

    @property
    def notes(self) -> tuple[str, ...]:
        """What the numbers mean, and the marks that are used."""
        edge = any(cell.at_grid_edge for cell in self.cells)
        return (EPOCHS_MEANING, EDGE_NOTE) if edge else (EPOCHS_MEANING,)


KEYS = ("study", "depth", "width", "shape", "batch_size")
Key = tuple[Any, ...]


def cells(rows: Iterable[Row], unfinished: bool = False, sweeps: Mapping[str, Sweep] | None = None) -> tuple[Cell, ...]:
    """The cells of the reported runs, by study, from shallow and wide to deep, small batches first.

    unfinished: those as well that were only tuned so far. sweeps: of the rows of one study, where they have been made.
    """
    given = Rows.of(rows)
    reported = given.where(phase="final")
    finals, tunes = reported.group_by(*KEYS), given.where(phase="tune").group_by(*KEYS)
    none, times = given.pick(slice(0, 0)), _times(reported, sweeps or {})
    found = {**finals, **tunes} if unfinished else finals
    places = {shape: place for place, (shape,) in enumerate(given.distinct("shape"))}

    def place(key: Key) -> Key:
        study, depth, width, shape, batch_size = key
        return study, *shape_order(depth, width, shape), places[shape], batch_size

    in_order = sorted(found, key=place)
    return tuple(_cell(finals.get(key, none), tunes.get(key, none), times.get(key)) for key in in_order)


def _cell(finals: Rows, tunes: Rows, times: tuple[Summary, Summary] | None) -> Cell:
    first, outcomes, bounds = (finals or tunes)[0], finals.column("outcome"), finals.column("batch_size_bound")
    counts: dict[str, Any] = {outcome.value: int(np.count_nonzero(outcomes == outcome)) for outcome in Outcome}
    seconds = np.concatenate([finals.column("seconds"), tunes.column("seconds")])
    return Cell(
        study=first.study,
        dataset=first.dataset,
        shape=first.shape,
        depth=first.depth,
        width=first.width,
        num_weights=first.num_weights,
        num_parameters=first.num_parameters,
        batch_size=first.batch_size,
        num_seeds=len(finals),
        **counts,
        **_step_size(finals.column("step_size"), tunes.column("step_size")),
        epochs=times[0] if times else None,
        steps=times[1] if times else None,
        batch_size_bound=summarise(bounds[np.isfinite(bounds)].tolist()),
        heldout_accuracy=_mean(finals.column("heldout_accuracy")),
        seconds=math.fsum(seconds[np.isfinite(seconds)]),
    )


def _step_size(chosen: Column, tried: Column) -> dict[str, Any]:
    """The fields about the step size; those of a geometric grid that differ by rounding are the same."""
    shared = float(chosen[0]) if len(chosen) and (chosen == chosen[0]).all() else None
    grid = np.unique(tried)
    edge = len(grid) > 1 and shared is not None and bool(np.isclose(shared, grid[[0, -1]], rtol=1e-9).any())
    return {"step_size": shared, "num_step_sizes": len(grid), "at_grid_edge": edge}


def _times(finals: Rows, sweeps: Mapping[str, Sweep]) -> dict[Key, tuple[Summary, Summary]]:
    """Cell -> (epochs, steps) to the target; no entry where every seed diverged or crashed."""
    found: dict[Key, tuple[Summary, Summary]] = {}
    for key, group in finals.group_by(*KEYS[:-1]).items():
        sweep = sweeps.get(key[-1]) or sweep_of(group)
        times = typical_times(sweep.steps_before, sweep.steps, sweep.cell, sweep.diverged)
        for index, batch_size in enumerate(sweep.batch_sizes):
            runs = (sweep.cell == index) & ~sweep.diverged
            if runs.any():
                ends = times.value[index], times.low[index], times.high[index]
                steps = median_of(sweep.steps[runs], sweep.steps_before[runs], ends)
                found[(*key, int(batch_size))] = scaled(steps, _pass(sweep, runs, float(batch_size))), steps
    return found


def _pass(sweep: Sweep, runs: Booleans, batch_size: float) -> float:
    """Epochs of one step, as the runs have them where one arrived."""
    arrived = runs & sweep.reached
    if arrived.any():
        return float(sweep.epochs[arrived].sum() / sweep.steps[arrived].sum())
    return 1 / math.ceil(sweep.num_examples / batch_size)


def _mean(values: Column) -> float:
    known = values[~np.isnan(values.astype(float))]
    return float(known.mean()) if len(known) else math.nan


def by_shape(table: Iterable[Cell]) -> dict[str, list[Cell]]:
    """Shape -> its cells, in the table's order."""
    groups: dict[str, list[Cell]] = {}
    for cell in table:
        groups.setdefault(cell.shape, []).append(cell)
    return groups


def batch_sizes(table: Iterable[Cell]) -> list[int]:
    """The batch sizes that occur, ascending."""
    return sorted({cell.batch_size for cell in table})


def summary_table(rows: Iterable[Row]) -> CellTable:
    """The cells of a run, those that were only tuned so far among them, as a table that prints."""
    return CellTable(cells(rows, unfinished=True))
