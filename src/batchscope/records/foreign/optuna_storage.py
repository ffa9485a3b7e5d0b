"""Optuna's own storage in SQLite (its RDBStorage, schema 12: Optuna 3 to 5), as the table that its CSV would be."""

from __future__ import annotations

import contextlib
import json
import math
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from batchscope.errors import InputError

MAGIC = b"SQLite format 3\0"
Rows = dict[int, list[tuple[Any, ...]]]


class StoredTrial(NamedTuple):
    """heads: as in the CSV of `trials_dataframe`. steps, values: what `trial.report` was told, by step."""

    heads: dict[str, str]
    steps: list[float]
    values: list[float]


def is_storage(path: Path) -> bool:
    """Whether a file is SQLite's; False for one that cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def stored_trials(path: Path) -> list[StoredTrial]:
    """All trials of all studies in it. Raises InputError for a database that is not Optuna's."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            return list(_read(database))
    except (sqlite3.Error, ValueError, LookupError) as error:
        raise InputError(f"{path} is no storage of Optuna ({error}); expected its SQLite file or the CSV") from None


def _read(database: sqlite3.Connection) -> Iterator[StoredTrial]:
    parameters = _by_trial(database, "param_name, param_value, distribution_json", "trial_params")
    attributes = _by_trial(database, "key, value_json", "trial_user_attributes")
    values = _by_trial(database, "value", "trial_values")
    reported = _by_trial(database, "step, intermediate_value", "trial_intermediate_values")
    trials = "SELECT trial_id, state, study_name FROM trials JOIN studies USING (study_id) ORDER BY study_id, number"
    for trial, state, study in database.execute(trials):
        curve = sorted(reported[trial])
        heads = {
            "state": state,
            "study": study,
            "value": _text(values[trial][0][0]) if len(values[trial]) == 1 else "",
            **{f"params_{name}": _text(_chosen(value, told)) for name, value, told in parameters[trial]},
            **{f"user_attrs_{name}": _text(json.loads(told)) for name, told in attributes[trial]},
        }
        steps = [float(step) for step, _ in curve]
        yield StoredTrial(heads, steps, [math.nan if value is None else float(value) for _, value in curve])


def _by_trial(database: sqlite3.Connection, columns: str, table: str) -> Rows:
    found: Rows = defaultdict(list)
    for trial, *row in database.execute(f"SELECT trial_id, {columns} FROM {table}"):
        found[trial].append(tuple(row))
    return found


def _chosen(value: float, distribution: str) -> Any:
    """A categorical parameter is stored as the place of its choice."""
    about = json.loads(distribution)
    choices = about["attributes"].get("choices") if about["name"] == "CategoricalDistribution" else None
    if choices is None:
        return int(value) if about["name"] == "IntDistribution" else value
    return choices[int(value)]


def _text(value: Any) -> str:
    return "" if value is None else str(value)
