"""Exports of Weights & Biases: the table of runs, its API's, and the lines of a chart.

Runs (Export, CSV, in the table of a project): a line per run with Name, State, and a column for every key of config and
summary. The API, by the script of its guide ("Import and export data"): columns summary, config and name, the first two
dictionaries as Python prints them; and ``run.history()``, one frame a run: _step and a column per metric. A chart (its
menu, Export CSV): Step, then for every run "NAME - METRIC", with its __MIN and __MAX beside it.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from batchscope.errors import InputError
from batchscope.records.foreign.column_map import Table, guessed, mapped, read_csv
from batchscope.records.foreign.reaching import Goal, reaching

CANDIDATES = {
    "shape": ("shape", "model", "architecture", "arch", "model_name"),
    "batch_size": ("batch_size", "train_batch_size", "per_device_train_batch_size", "bs"),
    "seed": ("seed", "random_seed"),
    "step_size": ("learning_rate", "lr", "step_size"),
    "steps": ("steps_to_target",),
    "epochs": ("epochs_to_target",),
    "num_examples": ("num_examples", "train_size"),
    "num_weights": ("num_parameters", "num_weights", "n_params"),
}
API = ("summary", "config", "name")
FAILED = ("crashed", "failed", "killed")
STEPS_RUN = ("_step", "trainer/global_step", "train/global_step")


def lines(runs: Path, columns: Mapping[str, str], chart: Path | None, goal: Goal | None) -> list[dict[str, Any]]:
    """One line per run, ready for `plain`.

    runs: the table. chart: where the target is looked for; without one, columns steps or epochs must say it (an empty
    one: not reached, in as many steps as `_step` says). Raises InputError where neither does.
    """
    table = _flat(read_csv(runs), runs)
    meant = guessed(table, CANDIDATES, columns)
    curves = None if chart is None or goal is None else _all_curves(chart, goal)
    if curves is None and not {"steps", "epochs"} & set(meant):
        raise InputError(
            f"{runs} does not say when a run reached its target; expected --column steps=HEAD (or epochs=HEAD), or the "
            "export of a chart: --chart FILE --target 'METRIC <= NUMBER'"
        )
    ran = next((head for head in STEPS_RUN if head in table[0]), "")
    found = []
    for theirs, ours in zip(table, mapped(table, meant, str(runs)), strict=True):
        told = _by_column(theirs, ours, ran) if curves is None else _by_curve(theirs, curves, goal)
        failed = theirs.get("State", "").lower() in FAILED and not told.get("reached")
        found.append({**ours, **told, **({"outcome": "crashed"} if failed else {})})
    return found


def _flat(table: Table, path: Path) -> Table:
    """The API's table with a column for every key of config and summary; another one as it is."""
    if not set(API) <= set(table[0]):
        return table
    try:
        lines = [{"Name": line["name"], **_texts(line["summary"]), **_texts(line["config"])} for line in table]
    except (ValueError, SyntaxError, AttributeError) as error:
        raise InputError(
            f"{path}: summary or config is no dictionary ({error}); expected what pandas writes of run.config"
        ) from None
    heads = dict.fromkeys(head for line in lines for head in line)
    return [{head: line.get(head, "") for head in heads} for line in lines]


def _texts(printed: str) -> dict[str, str]:
    """nan and inf are numbers there, which Python's literals are not."""
    safe = re.sub(r"(?<=[:\[, ])(-?)(nan|inf)(?=[,\]}])", r"'\1\2'", printed)
    return {key: "" if value is None else str(value) for key, value in ast.literal_eval(safe).items()}


def _by_column(theirs: Mapping[str, str], ours: Mapping[str, str], ran: str) -> dict[str, Any]:
    """An empty time to the target is a target that was not reached."""
    if ours.get("steps") or ours.get("epochs"):
        return {"reached": True}
    return {"reached": False, "steps": theirs.get(ran, "")}


def _by_curve(theirs: Mapping[str, str], curves: Mapping[str, tuple[list[float], list[float]]], goal: Any) -> Any:
    name = theirs.get("Name", "")
    if name not in curves:
        raise InputError(f"the chart has no run {name!r}; expected a column '{name} - {goal.metric}'")
    return reaching(goal, *curves[name])


def _all_curves(chart: Path, goal: Goal) -> dict[str, tuple[list[float], list[float]]]:
    """Of a chart, or of a folder of histories: NAME.csv is what ``run.history().to_csv`` wrote of the run."""
    if not chart.is_dir():
        return _curves(read_csv(chart), goal, chart)
    found = {}
    for path in sorted(chart.glob("*.csv")):
        history = read_csv(path)
        if missing := {goal.metric, "_step"} - set(history[0]):
            raise InputError(f"{path} has no column {sorted(missing)[0]!r}; expected what run.history() gives")
        lines = sorted(history, key=lambda line: _value(line["_step"]))
        found[path.stem] = ([_value(line["_step"]) for line in lines], [_value(line[goal.metric]) for line in lines])
    return found


def _curves(chart: Table, goal: Goal, path: Path) -> dict[str, tuple[list[float], list[float]]]:
    """Name of a run -> (steps, values)."""
    ending = f" - {goal.metric}"
    heads = [head for head in chart[0] if head.endswith(ending)]
    axis = next((head for head in chart[0] if head.lower() in ("step", *STEPS_RUN)), None)
    if not heads or axis is None:
        missing = "column Step" if axis is None else f"column ending in {ending!r}"
        raise InputError(f"{path} has no {missing}; expected the export of a chart of {goal.metric!r} against steps")
    in_order = sorted(chart, key=lambda line: float(line[axis] or math.nan))
    steps = [float(line[axis]) for line in in_order]
    return {head.removesuffix(ending): (steps, [_value(line[head]) for line in in_order]) for head in heads}


def _value(text: str) -> float:
    return float(text) if text.strip() else math.nan
