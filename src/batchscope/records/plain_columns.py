"""The columns of runs given as plain numbers: their names, what they mean, and a table read by them."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchscope.errors import InputError, closest
from batchscope.records.csv_text import as_it_was
from batchscope.records.row import Outcome

EXAMPLE = "shape,batch_size,seed,steps,reached"  # of a head, for messages
YES = {"true": True, "yes": True, "1": True, "1.0": True, "false": False, "no": False, "0": False, "0.0": False}


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


def table_of(source: Any) -> tuple[str, dict[str, list[Any]]]:
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
        raise InputError(f"{path} has no lines of runs; expected a head ({EXAMPLE}) and a line per run")
    head = [name.strip() for name in lines[0]]
    for number, line in enumerate(lines[1:], start=2):
        if len(line) != len(head):
            raise InputError(f"{path}, line {number}: {len(line)} cells under {len(head)} heads; expected one for each")
    return {name: [as_it_was(line[k]) for line in lines[1:]] for k, name in enumerate(head)}


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
                f"{EXAMPLE}: rename yours, or `batchscope import FILE OUT.csv --column {needed[0]}=YOURS`"
            )
    return found


def lines_of(where: str, given: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """One dictionary per run, by our names, without what is empty. InputError for a column that is missing, and for
    values that cannot be read, with their line."""
    table = _named(where, given)
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
