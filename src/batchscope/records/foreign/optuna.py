"""Optuna: what ``study.trials_dataframe().to_csv(FILE)`` writes, or the SQLite file that is the study's storage.

A line per trial: number, value (values_0, ... of several objectives), datetime_*, duration, params_NAME,
user_attrs_NAME, system_attrs_NAME, state (COMPLETE, PRUNED, FAIL, RUNNING, WAITING). The storage also has what
``trial.report(value, step)`` was told, so that a target can be looked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from batchscope.errors import InputError
from batchscope.records.foreign.column_map import Table, guessed, mapped, read_csv
from batchscope.records.foreign.optuna_storage import StoredTrial, is_storage, stored_trials
from batchscope.records.foreign.reaching import Goal, reaching

_NAMES: dict[str, Sequence[str]] = {
    "shape": ("shape", "model", "architecture"),
    "batch_size": ("batch_size", "bs"),
    "seed": ("seed",),
    "step_size": ("step_size", "learning_rate", "lr"),
    "steps": ("steps_to_target", "steps"),
    "epochs": ("epochs_to_target", "epochs"),
    "reached": ("reached",),
    "steps_run": ("steps_run", "last_step"),
    "num_examples": ("num_examples",),
    "num_weights": ("num_weights", "num_parameters"),
}
CANDIDATES: dict[str, Sequence[str]] = {
    ours: tuple(f"{kind}_{name}" for kind in ("user_attrs", "params") for name in names)
    for ours, names in _NAMES.items()
}
OUTCOMES = {"PRUNED": "censored", "FAIL": "crashed"}
UNFINISHED = ("RUNNING", "WAITING")
REPORTED = "value"  # how a target names what trial.report was told


def lines(path: Path, columns: Mapping[str, str], goal: Goal | None = None) -> list[dict[str, Any]]:
    """One line per trial that ended, ready for `plain`. goal: of the reported values, for a storage: value <= 0.2.

    A trial that was pruned, or says no time, did not reach its target in the steps it ran (user attribute steps_run, or
    the last report). Raises InputError where no column says when the target was reached: the objective may
    (steps=value).
    """
    stored = stored_trials(path) if is_storage(path) else None
    _check_goal(goal, stored, path)
    table = _same_heads([trial.heads for trial in stored]) if stored is not None else read_csv(path)
    ended = [k for k, line in enumerate(table) if line.get("state", "") not in UNFINISHED]
    if not ended:
        raise InputError(f"{path}: no trial has ended; expected COMPLETE, PRUNED or FAIL in the column state")
    meant = guessed(table, CANDIDATES, columns)
    run = meant.pop("steps_run", "")
    if goal is None and not {"steps", "epochs"} & set(meant):
        raise InputError(_no_time(path, table))
    ours = mapped(table, meant, str(path))
    curves = [None] * len(table) if stored is None else stored
    return [_line(ours[k], table[k], table[k].get(run, ""), curves[k], goal) for k in ended]


def _line(
    ours: Mapping[str, Any], theirs: Mapping[str, str], ran: str, stored: StoredTrial | None, goal: Goal | None
) -> dict[str, Any]:
    told: dict[str, Any] = {}
    if goal is not None and stored is not None:
        told = reaching(goal, stored.steps, stored.values)
    elif not (ours.get("steps") or ours.get("epochs")):
        last = max(stored.steps, default=0) if stored is not None else 0
        told = {"steps": ran or last, "reached": False}
    outcome = "" if told.get("reached") else OUTCOMES.get(theirs.get("state", ""), "")
    if told and not told["reached"] and not float(told["steps"] or 0):
        if outcome == "crashed":
            return {**ours, "outcome": outcome}
        raise InputError(
            f"trial {theirs.get('number', '')} ({theirs.get('state', '')}) did not reach its target and does not say "
            "how many steps it ran; expected a user attribute steps_run, or the study's SQLite file in place of the CSV"
        )
    return {**ours, **told, **({"outcome": outcome} if outcome else {})}


def _check_goal(goal: Goal | None, stored: object, path: Path) -> None:
    if goal is not None and stored is None:
        raise InputError(f"--target needs what trial.report was told; {path} is no SQLite storage of Optuna")
    if goal is not None and goal.metric != REPORTED:
        raise InputError(f"--target on {goal.metric!r}; expected what trial.report was told: '{REPORTED} < 0.2'")


def _same_heads(table: Table) -> Table:
    """Every line with the heads of all, empty where it says nothing."""
    heads = dict.fromkeys(head for line in table for head in line)
    return [{head: line.get(head, "") for head in heads} for line in table]


def _no_time(path: Path, table: Table) -> str:
    if {"params", "user_attrs"} & set(table[0]):
        return f"{path} has two lines of heads; expected trials_dataframe() without multi_index=True"
    return (
        f"{path} does not say when a trial reached its target; expected user attributes steps or epochs, or "
        "--column steps=value where the objective is the number of steps, or the SQLite storage with --target"
    )
