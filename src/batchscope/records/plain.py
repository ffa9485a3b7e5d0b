"""Rows from plain numbers: a CSV, a mapping of columns, a data frame; whoever ran the runs. No torch.

    shape,batch_size,seed,steps,reached
    wide,32,1,1060,yes
    wide,512,1,160,yes

COLUMNS says what columns mean and which are needed. What batchscope's own runs record besides is left unknown, and
nothing is claimed of it: numbers of weights that are not given are 0, and no comparison says "at equal parameters".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from batchscope.digest import short_digest
from batchscope.errors import InputError
from batchscope.records.codec import decode_all
from batchscope.records.plain_columns import YES, lines_of, table_of
from batchscope.records.row import Evaluation, Outcome, Row
from batchscope.records.rows import COLUMNS as STORED
from batchscope.records.rows import KINDS, Rows

AS_GIVEN = "as given"  # the metric of a target that the runs' owner knows
UNKNOWN_SIZE = "size not given"  # in the place of the fingerprint of the data
PASS = 10_000  # examples that an epoch stands for where the number of training examples is not known (ours)


def runs(source: Any, num_examples: int | None = None) -> Rows:
    """The runs of a CSV, a mapping of columns or a data frame, as everything in `batchscope.analysis` takes them.

    source: a path; name -> sequence of N values; or what has `.columns` and is indexed by their names (pandas, polars).
    The columns are those of COLUMNS, in any order and case; others are left alone. A CSV that `batchscope export` wrote
    is read as it was. num_examples: of the training set, where no column says it.

    Raises InputError for columns that are missing or differ in length, values that cannot be read (with their line),
    and two runs of one shape, batch size, step size and seed.
    """
    where, table = table_of(source)
    if {"trial_id", "outcome", "steps_run"} <= set(table):
        return _exported(where, table)
    return _rows(where, lines_of(where, table), num_examples)


def _rows(where: str, lines: list[dict[str, Any]], num_examples: int | None) -> Rows:
    unit = num_examples or next((line["num_examples"] for line in lines if "num_examples" in line), None)
    n = unit or max(PASS, *(line["batch_size"] for line in lines))
    for line in lines:
        line.setdefault("num_examples", n)
        line.setdefault("shape", "network")
        line.setdefault("study", Path(where).stem)
    checks = _checks(lines)
    _number_seeds(where, lines)
    _settle_phases(lines)
    most = math.ceil(max(_lengths(where, k, line)[1] for k, line in enumerate(lines)))
    known = UNKNOWN_SIZE if unit is None else ""
    rows = [_row(where, k, line, checks, max(1, most), known) for k, line in enumerate(lines)]
    ends = {"wide": -1, "deep": 1}  # shapes without depth stay in the order in which they come, but for these names
    return Rows.of(sorted(rows, key=lambda row: ends.get(row.shape, 0)))


def _checks(lines: Sequence[Mapping[str, Any]]) -> int:
    """Checks of the target in an epoch: as given; once where all epochs are whole; else at every step, or nearly."""
    given: list[int] = [line["checks"] for line in lines if "checks" in line]
    if given:
        return max(given)
    epochs = [line["epochs"] for line in lines if "epochs" in line]
    if len(epochs) == len(lines) and all(float(value).is_integer() for value in epochs):
        return 1
    return max(-(-int(line["num_examples"]) // int(line["batch_size"])) for line in lines)


def _cell(line: Mapping[str, Any]) -> tuple[Any, ...]:
    return line["study"], line["shape"], line["batch_size"]


def _number_seeds(where: str, lines: Sequence[dict[str, Any]]) -> None:
    """Seeds for runs without; InputError for two runs that are the same one."""
    seen: dict[tuple[Any, ...], int] = {}
    counts: dict[tuple[Any, ...], int] = {}
    for k, line in enumerate(lines):
        group = (*_cell(line), line.get("step_size"), line.get("phase"))
        counts[group] = counts.get(group, 0) + 1
        line.setdefault("seed", counts[group])
        same = seen.setdefault((*group, line["seed"]), k)
        if same != k:
            raise InputError(
                f"{where}, lines {same + 2} and {k + 2}: two runs of shape {line['shape']!r}, batch size "
                f"{line['batch_size']}, seed {line['seed']}; expected one: give each its own seed, or leave seeds out"
            )


def _settle_phases(lines: Sequence[dict[str, Any]]) -> None:
    """Of a cell with several step sizes, and no word on which is reported, the fastest is: most runs there, then the
    least median of steps."""
    cells: dict[tuple[Any, ...], dict[Any, list[dict[str, Any]]]] = {}
    for line in lines:
        if "phase" not in line:
            cells.setdefault(_cell(line), {}).setdefault(line.get("step_size"), []).append(line)
    for by_step_size in cells.values():
        best = min(by_step_size.values(), key=_slowness)
        for group in by_step_size.values():
            for line in group:
                line["phase"] = "final" if group is best else "tune"


def _slowness(group: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    times = sorted(
        line.get("steps", line.get("epochs", math.inf)) for line in group if _outcome(line) is Outcome.REACHED
    )
    return -len(times) / len(group), times[len(times) // 2] if times else math.inf


def _outcome(line: Mapping[str, Any]) -> Outcome:
    if "outcome" in line:
        return Outcome(line["outcome"])
    never = not line.get("reached", "steps" in line or "epochs" in line)
    return Outcome.CENSORED if never else Outcome.REACHED


def _lengths(where: str, k: int, line: Mapping[str, Any]) -> tuple[int, float]:
    """(steps, epochs) of a run; an epoch has ceil(n/B) steps."""
    per_epoch = math.ceil(line["num_examples"] / line["batch_size"])
    if "steps" not in line and "epochs" not in line:
        if _outcome(line) in (Outcome.DIVERGED, Outcome.CRASHED):
            return 0, 0.0
        raise InputError(
            f"{where}, line {k + 2}: neither steps nor epochs; expected the steps to the target, or, with reached = "
            "no, how many were run"
        )
    steps = line["steps"] if "steps" in line else max(1, round(line["epochs"] * per_epoch))
    return round(steps), line.get("epochs", steps / per_epoch)


def _row(where: str, k: int, line: Mapping[str, Any], checks: int, most: int, known: str) -> Row:
    outcome, (steps, epochs) = _outcome(line), _lengths(where, k, line)
    arrived = outcome is Outcome.REACHED
    before = line.get("steps_before", steps - 1 if arrived and checks > 1 else None)
    content = repr(sorted((name, value) for name, value in line.items()))
    weights = line.get("num_weights", 0)
    return Row(
        trial_id=short_digest(content),
        study=line["study"],
        protocol=AS_GIVEN,
        phase=line["phase"],
        dataset=line.get("dataset", AS_GIVEN),
        data_fingerprint=known,
        num_examples=line["num_examples"],
        family=AS_GIVEN,
        shape=line["shape"],
        depth=line.get("depth", 1),
        width=line.get("width", 0),
        num_weights=weights,
        num_parameters=weights,
        batch_size=line["batch_size"],
        step_size=line.get("step_size", math.nan),
        seed=line["seed"],
        target_metric=AS_GIVEN,
        target_value=1.0,
        max_epochs=max(1, math.floor(epochs)) if outcome is Outcome.CENSORED else most,
        evaluations_per_epoch=checks,
        outcome=outcome,
        epochs_to_target=epochs if arrived else None,
        steps_to_target=steps if arrived else None,
        epochs_run=epochs,
        steps_run=steps,
        train_loss=None,
        train_accuracy=None,
        heldout_accuracy=None,
        batch_size_bound=line.get("batch_size_bound"),
        history=() if before is None or not arrived else (_check(before, steps, epochs), _check(steps, steps, epochs)),
    )


def _check(step: float, steps: int, epochs: float) -> Evaluation:
    return Evaluation(epoch=epochs * step / steps, step=round(step), train_loss=math.nan)


def unknowns(rows: Sequence[Row]) -> list[str]:
    """What rows of plain numbers do not say, and what stands in for it; a report repeats it."""
    given = Rows.of(rows)
    if not len(given) or set(given.entries("protocol")) != {AS_GIVEN}:
        return []
    found = []
    if set(given.entries("num_weights")) == {0}:
        found.append("no column num_weights: shapes are not said to be equal, and not compared at equal FLOPs")
    if len(set(given.entries("shape"))) > 1 and set(given.entries("depth")) == {1}:
        found.append("no column depth: 'wide' is the first shape of the table, 'deep' the last")
    if UNKNOWN_SIZE in given.entries("data_fingerprint"):
        sizes = ", ".join(str(size) for (size,) in given.distinct("num_examples"))
        found.append(f"no column num_examples: an epoch stands for {sizes} examples here")
    if "tune" in given.entries("phase"):
        found.append("several step sizes in a cell: the fastest is reported, as if it had been known before")
    return found


def _exported(where: str, table: Mapping[str, Sequence[Any]]) -> Rows:
    """Rows that `batchscope export` wrote."""
    names = [name for name in table if name in STORED]
    try:
        columns = [[_stored(name, entry) for entry in table[name]] for name in names]
        return decode_all([(names, list(zip(*columns, strict=True)))])
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(
            f"{where} is no complete export ({type(error).__name__}: {error}); expected what `batchscope export` wrote"
        ) from None


def _stored(name: str, text: Any) -> Any:
    """An entry of an exported CSV as it was stored."""
    kind, _ = KINDS[name]
    if text == "" or kind not in (int, float, bool):
        return None if text == "" else text
    if kind is bool:
        return YES[str(text).lower()]
    return kind(text)
