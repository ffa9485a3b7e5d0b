"""Optuna: what ``study.trials_dataframe().to_csv(FILE)`` writes.

A line per trial: number, value (values_0, ... of several objectives), datetime_*, duration, params_NAME,
user_attrs_NAME, system_attrs_NAME, state (COMPLETE, PRUNED, FAIL, RUNNING, WAITING).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from batchscope.errors import InputError
from batchscope.records.foreign.column_map import guessed, mapped, read_csv

_NAMES: dict[str, Sequence[str]] = {
    "shape": ("shape", "model", "architecture"),
    "batch_size": ("batch_size", "bs"),
    "seed": ("seed",),
    "step_size": ("step_size", "learning_rate", "lr"),
    "steps": ("steps_to_target", "steps"),
    "epochs": ("epochs_to_target", "epochs"),
    "reached": ("reached",),
    "num_examples": ("num_examples",),
    "num_weights": ("num_weights", "num_parameters"),
}
CANDIDATES = {
    ours: tuple(f"{kind}_{name}" for kind in ("user_attrs", "params") for name in names)
    for ours, names in _NAMES.items()
}
OUTCOMES = {"PRUNED": "censored", "FAIL": "crashed"}
UNFINISHED = ("RUNNING", "WAITING")


def lines(path: Path, columns: Mapping[str, str]) -> list[dict[str, Any]]:
    """One line per trial that ended, ready for `plain`. A pruned trial did not reach its target in the steps it ran.

    Raises InputError where no column says when the target was reached: the objective may (steps=value).
    """
    table = [line for line in read_csv(path) if line.get("state", "") not in UNFINISHED]
    if not table:
        raise InputError(f"{path}: no trial has ended; expected COMPLETE, PRUNED or FAIL in the column state")
    meant = guessed(table, CANDIDATES, columns)
    if not {"steps", "epochs"} & set(meant):
        raise InputError(
            f"{path} does not say when a trial reached its target; expected user attributes steps or epochs, or "
            "--column steps=value where the objective is the number of steps"
        )
    return [
        {**ours, **({"outcome": OUTCOMES[state]} if (state := theirs.get("state", "")) in OUTCOMES else {})}
        for theirs, ours in zip(table, mapped(table, meant, str(path)), strict=True)
    ]
