"""Rows from plain numbers: a CSV, a mapping of columns, a data frame; whoever ran the runs. No torch.

    shape,batch_size,seed,steps,reached
    wide,32,1,1060,yes
    wide,512,1,160,yes

COLUMNS says what columns mean and which are needed. What batchscope's own runs record besides is left unknown, and
nothing is claimed of it: numbers of weights that are not given are 0, and no comparison says "at equal parameters".
"""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchscope.errors import InputError, closest
from batchscope.records.codec import decode_all
from batchscope.records.row import Evaluation, Outcome, Row
from batchscope.records.rows import COLUMNS as STORED
from batchscope.records.rows import KINDS, Rows

AS_GIVEN = "as given"  # the metric of a target that the runs' owner knows
UNKNOWN_SIZE = "size not given"  # in the place of the fingerprint of the data
YES = {"true": True, "yes": True, "1": True, "1.0": True, "false": False, "no": False, "0": False, "0.0": False}
PASS = 10_000  # examples that an epoch stands for where the number of training examples is not known (ours)


def _whole(text: str) -> int:
    value = float(text)
    if not value.is_integer() or value < 1:
        raise ValueError
    return int(value)


def _any_whole(text: str) -> int:
    if not float(text).is_integer():
        raise ValueError
    return int(float(text))


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise ValueError
    return value


def _not_negative(text: str) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        raise ValueError
    return value


@dataclass(frozen=True)
class Meant:
    """What a column means. read: its texts; ValueError for others. expected: in words. aliases: other names of it."""

    meaning: str
    read: Callable[[str], Any]
    expected: str
    aliases: tuple[str, ...] = ()


_COUNT = "a whole number of at least 1"
COLUMNS = {
    "shape": Meant("which network it is; one for all runs if left out", str, "a text", ("model", "architecture")),
    "batch_size": Meant("examples per step; needed", _whole, _COUNT, ("bs", "batch", "batchsize")),
    "seed": Meant("of the run; runs are counted if left out", _any_whole, "a whole number"),
    "steps": Meant("update steps to the target, or how many were run; this or epochs is needed", _positive,
                   "a number above 0", ("steps_to_target",)),
    "epochs": Meant("passes over the data to the target, or how many were run", _positive, "a number above 0",
                    ("epochs_to_target",)),
    "steps_before": Meant("the last step known to be short of the target, where it is not checked at every step",
                          _not_negative, "a number of at least 0"),
    "reached": Meant("whether the target was; yes if left out", lambda text: YES[text.lower()], "yes or no",
                     ("converged",)),
    "outcome": Meant("instead of reached: reached, censored, diverged or crashed", lambda text: Outcome(text.lower()),
                     "reached, censored, diverged or crashed"),
    "num_examples": Meant("of the training set; makes epochs of steps", _whole, _COUNT, ("n",)),
    "checks": Meant("of the target in an epoch", _whole, _COUNT, ("evaluations_per_epoch",)),
    "step_size": Meant("of several, the fastest of a cell is reported", _positive, "a number above 0",
                       ("lr", "learning_rate")),
    "phase": Meant("final (reported) or tune", lambda text: {"final": "final", "tune": "tune"}[text.lower()],
                   "final or tune"),
    "depth": Meant("hidden layers: orders shapes from wide to deep", _whole, _COUNT),
    "width": Meant("units of a layer", _whole, _COUNT),
    "num_weights": Meant("of the network; needed to compare at equal parameters or FLOPs", _whole, _COUNT,
                         ("num_parameters", "parameters", "params", "weights")),
    "batch_size_bound": Meant("B_S, n times the gradient diversity", _positive, "a number above 0"),
    "dataset": Meant("its name", str, "a text"),
    "study": Meant("runs of several are analysed apart", str, "a text"),
}  # fmt: skip


def runs(source: Any, num_examples: int | None = None) -> Rows:
    """The runs of a CSV, a mapping of columns or a data frame, as everything in `batchscope.analysis` takes them.

    source: a path; name -> sequence of N values; or what has `.columns` and is indexed by their names (pandas, polars).
    The columns are those of COLUMNS, in any order and case; others are left alone. A CSV that `batchscope export` wrote
    is read as it was. num_examples: of the training set, where no column says it.

    Raises InputError for columns that are missing or differ in length, values that cannot be read (with their line),
    and two runs of one shape, batch size, step size and seed.
    """
    where, table = _table(source)
    if {"trial_id", "outcome", "steps_run"} <= set(table):
        return _exported(where, table)
    return _rows(where, _read(where, _named(where, table)), num_examples)


def _table(source: Any) -> tuple[str, dict[str, list[Any]]]:
    """(what messages call it, name -> entries)"""
    if isinstance(source, str | Path):
        return str(source), _table_of_file(Path(source))
    if isinstance(source, Mapping):
        names: Iterable[Any] = source
    else:
        names = getattr(source, "columns", ())
    table = {str(name): list(source[name]) for name in names}
    if len({len(entries) for entries in table.values()}) > 1:
        lengths = ", ".join(f"{name} {len(entries)}" for name, entries in table.items())
        raise InputError(f"columns of different lengths ({lengths}); expected one entry per run in each")
    return "the table", table


def _table_of_file(path: Path) -> dict[str, list[Any]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [line for line in csv.reader(file) if any(cell.strip() for cell in line)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be read: {reason}; expected a CSV with a head and a line per run") from None
    if len(lines) < 2:
        raise InputError(f"{path} has no lines of runs; expected a head ({_example()}) and a line per run")
    head = [name.strip() for name in lines[0]]
    for number, line in enumerate(lines[1:], start=2):
        if len(line) != len(head):
            raise InputError(f"{path}, line {number}: {len(line)} cells under {len(head)} heads; expected one for each")
    return {name: [line[k] for line in lines[1:]] for k, name in enumerate(head)}


def _example() -> str:
    return "shape,batch_size,seed,steps,reached"


def _named(where: str, table: Mapping[str, Sequence[Any]]) -> dict[str, Sequence[Any]]:
    """The columns that mean something, by our names. InputError where a needed one is missing."""
    meant = {alias: name for name, column in COLUMNS.items() for alias in (*column.aliases, name)}
    found: dict[str, Sequence[Any]] = {}
    for head, entries in table.items():
        name = meant.get(head.strip().lower().replace(" ", "_").replace("-", "_"))
        if name is not None and (name not in found or head == name):
            found[name] = entries
    for needed in (("batch_size",), ("steps", "epochs")):
        if not set(needed) & set(found):
            near = closest(needed[0], table) if table else "there are no columns"
            raise InputError(
                f"{where} has no column {' or '.join(map(repr, needed))} ({near}); expected columns such as "
                f"{_example()}: rename yours, or `batchscope import FILE OUT.csv --column {needed[0]}=YOURS`"
            )
    return found


def _read(where: str, table: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """One dictionary per run, without what is empty."""
    length = len(next(iter(table.values())))
    lines: list[dict[str, Any]] = [{} for _ in range(length)]
    for name, entries in table.items():
        column = COLUMNS[name]
        for k, entry in enumerate(entries):
            text = "" if entry is None else str(entry.value if isinstance(entry, Outcome) else entry).strip()
            if text.lower() in ("", "nan", "none", "inf"):
                continue
            try:
                lines[k][name] = column.read(text)
            except (ValueError, KeyError):
                raise InputError(
                    f"{where}, line {k + 2}: {name} = {text!r}; expected {column.expected} ({column.meaning})"
                ) from None
    for k, line in enumerate(lines):
        if "batch_size" not in line:
            raise InputError(f"{where}, line {k + 2}: no batch_size; expected {COLUMNS['batch_size'].expected}")
    return lines


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
        trial_id=hashlib.sha256(content.encode()).hexdigest()[:16],
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
