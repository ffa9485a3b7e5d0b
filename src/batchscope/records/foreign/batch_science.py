"""The published data of Shallue et al. (JMLR 2019), "Measuring the Effects of Data Parallelism": their layout.

    dataset/model/optimizer/batch_size/study.json              batch_size, dataset, model, optimizer, train_steps
    dataset/model/optimizer/batch_size/TRIAL/metadata.json     parameters, status, steps, trial_id
    dataset/model/optimizer/batch_size/TRIAL/measurements.csv  step, then a column per metric, one line per evaluation

Every trial has hyperparameters of its own, and the result of a batch size is its fastest trial (their Section 3). So
there is no error bar from seeds: one trial a batch size is reported, the others count as tuning.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from batchscope.errors import InputError
from batchscope.records.foreign.reaching import Goal, reaching

STATUS = {"COMPLETE": None, "INFEASIBLE": "diverged"}  # INCOMPLETE trials are left out, as their own loader does
GROUPS = ("mnist_subsets", "imagenet_subsets", "solution_quality")  # the same workloads again, under other budgets
RATES = ("learning_rate", "initial_learning_rate")


def lines(directory: Path, goal: Goal) -> list[dict[str, Any]]:
    """One line per trial below a folder, ready for `plain`. goal: their metric, such as val/classification_error < 0.3.

    Raises InputError where no study.json lies below it, for files that cannot be read, and where no trial has the
    metric.
    """
    studies = sorted(directory.rglob("study.json"))
    if not studies:
        raise InputError(
            f"{directory} holds no study.json; expected the layout of batch_science: "
            "dataset/model/optimizer/batch_size/study.json with TRIAL/metadata.json and TRIAL/measurements.csv"
        )
    metrics: set[str] = set()
    found = [line for path in studies for line in _study(path, _group(path), goal, metrics)]
    if goal.metric not in metrics:
        raise InputError(f"no trial has the metric {goal.metric!r}; expected one of {', '.join(sorted(metrics))}")
    return found


def _group(path: Path) -> str:
    """mnist_subsets, solution_quality, ...: the folder above dataset/model/optimizer/batch_size, where it is theirs."""
    above = [part.name for part in path.parents][4:5]
    return above[0] if above and above[0] in GROUPS else ""


def _study(path: Path, group: str, goal: Goal, metrics: set[str]) -> Iterator[dict[str, Any]]:
    study = _json(path)
    for trial in sorted(path.parent.glob("*/metadata.json")):
        about = _json(trial)
        if about.get("status") not in STATUS:
            continue
        measured = _measurements(trial.with_name("measurements.csv"))
        metrics |= set(measured) - {"step"}
        steps = measured.get("step", [])
        told = reaching(goal, steps, measured.get(goal.metric, [math.nan] * len(steps)))
        parameters = about.get("parameters", {})
        rate = next((parameters[name] for name in RATES if name in parameters), "")
        # two trials may share a learning rate by chance and differ in the rest: the trial is its own "seed"
        yield {
            "study": f"{group} {study['dataset']} {study['model']} {study['optimizer']}".strip(),
            "dataset": study["dataset"],
            "shape": f"{study['model']} {study['optimizer']}",
            "batch_size": study["batch_size"],
            "seed": about["trial_id"],
            "step_size": rate,
            "steps": max(1, float(about.get("steps") or told["steps"])) if not told["reached"] else told["steps"],
            "steps_before": told.get("steps_before", ""),
            "outcome": "reached" if told["reached"] else STATUS[about["status"]] or "censored",
        }


def _json(path: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); expected JSON as batch_science has it") from None
    return record


def _measurements(path: Path) -> dict[str, list[float]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            read = list(csv.DictReader(file))
        names = list(read[0]) if read else []
        return {name: [float(line[name]) if line[name] else math.nan for line in read] for name in names}
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path} cannot be read ({error}); expected a column step and one per metric") from None
