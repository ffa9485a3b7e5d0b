"""`Sweep`: the runs of one shape over batch sizes as arrays. Everything in this room starts from here."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeAlias, TypeVar, cast
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from batchscope.errors import InputError, closest
from batchscope.records.histories import columns
from batchscope.records.plain import UNKNOWN_SIZE, runs
from batchscope.records.row import FIXED, Outcome, Row
from batchscope.records.rows import Rows

Array = NDArray[np.float64]
Booleans = NDArray[np.bool_]
Integers = NDArray[np.int64]
P = ParamSpec("P")
T = TypeVar("T")


class HasRows(Protocol):
    """Anything that carries rows: the results of a study, for instance."""

    @property
    def rows(self) -> Sequence[Row]:
        """One row per run."""


def rows_of(results: Any) -> Rows:
    """The rows themselves, by columns: of an iterable of them, of an object with `.rows`, or of plain numbers (a CSV, a
    mapping of columns, a data frame; see `records.plain`)."""
    if isinstance(results, str | Path | Mapping) or hasattr(results, "columns"):
        return runs(results)
    rows: Any = getattr(results, "rows", results)
    return Rows.of(rows)


@dataclass(frozen=True, eq=False)
class Sweep:
    """The reported ("final") runs of one shape, N of them at m batch sizes, crashed ones left out and counted.

    batch_sizes: [m] ascending. cell: [N] index into `batch_sizes` of every run, ascending.
    num_examples: trained on in an epoch: those of the training set, times its passes an epoch.
    epochs: [N] epochs to the target, inf where it was never reached. steps: [N] likewise in update steps.
    steps_before: [N] the last step known to be short of the target: the check before the one that met it, or the end
    of a run that never did. reached, diverged: [N]. max_epochs: the fewest epochs any run was allowed.
    resolution: epochs between two checks of the target. bounds: [N] mean B_S along the run, NaN where not measured.
    measured_at, measured: [N, M] the epochs at which B_S was measured and what it was, padded with NaN.
    """

    shape: str
    depth: int
    width: int
    num_weights: int
    multiply_adds: int
    num_examples: int
    target: str
    max_epochs: float
    resolution: float
    batch_sizes: Array
    cell: Integers
    epochs: Array
    steps: Array
    steps_before: Array
    reached: Booleans
    diverged: Booleans
    bounds: Array
    measured_at: Array
    measured: Array
    num_crashed: int
    num_parameters: int = 0  # weights, biases and gains; 0 where it is not said
    largest_possible: float = math.inf  # batch size: the training set; inf where its size is not said

    @property
    def num_runs(self) -> int:
        """Runs over all batch sizes."""
        return len(self.cell)

    @property
    def num_seeds(self) -> int:
        """Runs of the batch size with the fewest; 0 without runs."""
        return int(np.bincount(self.cell).min()) if self.num_runs else 0

    @property
    def flops_per_epoch(self) -> float:
        """Training FLOPs of one epoch: 6 per multiplication of the forward pass and example (2 forward, 4 backward).

        A weight of a fully-connected net multiplies once per example, that of a convolution once per output pixel.
        """
        return 6.0 * self.multiply_adds * self.num_examples

    def at(self, batch_sizes: Array) -> Sweep:
        """The same runs at some of the batch sizes only."""
        kept = np.isin(self.batch_sizes, batch_sizes)
        if kept.all():
            return self  # what is known of it stays known, see `once_per_sweep`
        runs = kept[self.cell]
        per_run = ("epochs", "steps", "steps_before", "reached", "diverged", "bounds", "measured_at", "measured")
        arrays = {name: getattr(self, name)[runs] for name in per_run}
        cell = (np.cumsum(kept) - 1)[self.cell[runs]]
        return replace(self, batch_sizes=self.batch_sizes[kept], cell=cell, **arrays)

    def typical(self, numbers: Array) -> Array:
        """[m] the number within which at least half of the runs of each batch size arrived (inf: fewer did)."""
        ordered, counts = self.ordered(numbers)
        return ordered[np.arange(len(counts)), (counts - 1) // 2]

    def ordered(self, numbers: Array) -> tuple[Array, Integers]:
        """([m, most runs] `numbers` of each batch size ascending, padded with inf; [m] runs of each)."""
        counts = np.bincount(self.cell, minlength=len(self.batch_sizes))
        table = np.full((len(counts), max(counts, default=0)), np.inf)
        order = np.lexsort((numbers, self.cell))
        starts = np.cumsum(counts) - counts
        table[self.cell, np.arange(self.num_runs) - starts[self.cell]] = numbers[order]
        return table, counts


def once_per_sweep(function: Callable[Concatenate[Sweep, P], T]) -> Callable[Concatenate[Sweep, P], T]:
    """Keep what a function of a sweep and hashable arguments returned for as long as the sweep lives.

    A report asks the same of a sweep many times: its fit, the resamples of its runs.
    """
    known: WeakKeyDictionary[Sweep, dict[Any, T]] = WeakKeyDictionary()

    @functools.wraps(function)
    def remembering(sweep: Sweep, /, *arguments: P.args, **options: P.kwargs) -> T:
        results, key = known.setdefault(sweep, {}), (arguments, tuple(options.items()))
        if key not in results:
            results[key] = function(sweep, *arguments, **options)
        return results[key]

    return remembering


def sweeps_of(results: Results) -> dict[str, Sweep]:
    """Shape label -> its `Sweep`, shallowest first (ties: widest first). No rows give an empty mapping.

    Sweeps are returned as they are: made once, they can be given to everything in this room that takes results.
    Raises InputError when the rows mix targets, data sets or protocols, as no threshold compares those.
    """
    if isinstance(results, Mapping) and all(isinstance(one, Sweep) for one in results.values()):
        return cast(dict[str, Sweep], results if isinstance(results, dict) else dict(results))
    finals = rows_of(results).where(phase="final")
    refuse_mixtures(finals)
    return {shape: sweep_of(group) for shape, group in by_shape(finals).items()}


def by_shape(rows: Rows) -> dict[str, Rows]:
    """Shape label -> its rows, shallowest first, in the order in which they came. Shapes without a width (of plain
    numbers) stay in the order in which they came."""
    groups = {shape: group for (shape,), group in rows.group_by("shape").items()}
    return dict(sorted(groups.items(), key=lambda item: shape_order(item[1][0].depth, item[1][0].width, item[0])))


def shape_order(depth: int, width: int, shape: str) -> tuple[int, int, str]:
    """What shapes are sorted by: shallow before deep, wide before narrow."""
    return depth, -width, shape if width else ""


def runs_among(rows: Rows) -> Rows:
    """The rows that a `Sweep` holds, in the order of its arrays: not crashed, by batch size and seed."""
    return rows.pick(rows.column("outcome") != Outcome.CRASHED).in_order_of("batch_size", "seed")


Columns: TypeAlias = Mapping[str, Sequence[Any]]
Results: TypeAlias = Iterable[Row] | HasRows | Mapping[str, Sweep] | Columns | str | Path


def find_shape(sweeps: Mapping[str, Sweep], name: str) -> str:
    """The label meant by `name`: "wide" is the shallowest shape, "deep" the deepest, anything else a label.

    Raises InputError with the closest label when there is none, or when one shape alone would be both.
    """
    if name in sweeps:
        return name
    if name in ("wide", "deep") and sweeps:
        if len(sweeps) == 1:
            raise InputError(
                f"{name!r} among a single shape ({next(iter(sweeps))!r}); expected two or more, or a label"
            )
        labels = list(sweeps)
        return labels[0] if name == "wide" else labels[-1]
    raise InputError(f"no shape {name!r} in the results: {closest(name, ['wide', 'deep', *sweeps])}")


def refuse_mixtures(rows: Rows, but: Sequence[str] = ()) -> None:
    """Raise InputError, naming the fields, when rows that answer different questions are mixed. but: what may differ.

    What was not recorded by an earlier version (None) may be anything.
    """
    found = {name: set(rows.entries(name)) - {None} for name in FIXED if name not in but}
    mixed = {name: values for name, values in found.items() if len(values) > 1}
    if mixed:
        listed = "; ".join(f"{name} = {', '.join(sorted(map(repr, values)))}" for name, values in mixed.items())
        raise InputError(
            f"rows with {listed}; expected one of each: filter them (rows.where({next(iter(mixed))}=...), or one study "
            "of several), and compare the results after"
        )


def sweep_of(group: Rows) -> Sweep:
    """The arrays of one shape's final rows."""
    first, runs = group[0], runs_among(group)
    measured_at, measured = _measurements(runs)
    batch_sizes, cell = np.unique(runs.column("batch_size"), return_inverse=True)
    outcomes = runs.column("outcome")
    return Sweep(
        shape=first.shape,
        depth=first.depth,
        width=first.width,
        num_weights=first.num_weights,
        num_parameters=first.num_parameters,
        multiply_adds=first.multiply_adds or first.num_weights,
        num_examples=first.num_examples * first.passes_per_epoch,
        largest_possible=math.inf if first.data_fingerprint == UNKNOWN_SIZE else first.num_examples,
        target=f"{first.target_metric.replace('_', ' ')} {first.target_value:g}",
        max_epochs=float(min(runs.entries("max_epochs"), default=np.nan)),
        resolution=1.0 / first.evaluations_per_epoch,
        batch_sizes=batch_sizes.astype(float),
        cell=cell.astype(np.int64),
        epochs=_numbers(runs, "epochs_to_target", np.inf),
        steps=_numbers(runs, "steps_to_target", np.inf),
        steps_before=_last_steps_short(runs),
        reached=np.asarray(outcomes == Outcome.REACHED, dtype=bool),
        diverged=np.asarray(outcomes == Outcome.DIVERGED, dtype=bool),
        bounds=_numbers(runs, "batch_size_bound", np.nan),
        measured_at=measured_at,
        measured=measured,
        num_crashed=len(group) - len(runs),
    )


def _numbers(rows: Rows, name: str, missing: float) -> Array:
    """[N] one field, with `missing` where there is none."""
    found = rows.column(name).astype(float)
    return np.where(np.isnan(found), missing, found)


def _measurements(runs: Rows) -> tuple[Array, Array]:
    """([N, M] the epochs at which B_S was measured, [N, M] B_S), padded with NaN."""
    if np.isnan(runs.column("batch_size_bound")).all():
        return np.empty((len(runs), 0)), np.empty((len(runs), 0))
    histories = runs.entries("history")
    epochs, bounds = columns(histories, "epoch"), columns(histories, "batch_size_bound")
    known = ~np.isnan(bounds)
    counts = known.sum(axis=1)
    run, check = np.nonzero(known)
    place = np.arange(len(run)) - (np.cumsum(counts) - counts)[run]
    result = np.full((2, len(runs), counts.max(initial=0)), np.nan)
    result[:, run, place] = epochs[run, check], bounds[run, check]
    return result[0], result[1]


def _last_steps_short(runs: Rows) -> Array:
    """[N] the last step at which the target is known not to have been met."""
    steps, first = columns(runs.entries("history"), "step"), _numbers(runs, "steps_to_target", np.nan)
    with np.errstate(invalid="ignore"):
        seen = np.where(steps < first[:, None], steps, -np.inf).max(axis=1, initial=-np.inf)
    return np.where(np.isfinite(seen), seen, _assumed_steps_short(runs))


def _assumed_steps_short(runs: Rows) -> Array:
    """The same without a history (a table that was exported, say): one interval between checks earlier, at least 0."""
    steps = _numbers(runs, "steps_to_target", np.nan)
    epochs = _numbers(runs, "epochs_to_target", np.nan)
    checks = _numbers(runs, "evaluations_per_epoch", np.nan) * epochs
    with np.errstate(divide="ignore", invalid="ignore"):
        earlier = np.maximum(0.0, steps * (1 - 1 / checks))
    known = ~np.isnan(steps) & (epochs > 0)
    return np.where(known, earlier, _numbers(runs, "steps_run", np.nan))
