"""What rows and evaluations of any run are like: whatever is otherwise, no run has written. No torch.

A store that was damaged or edited is named as such when it is read, before a number of it is shown.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchscope.options import OPTIONS
from batchscope.records.row import METRICS, Outcome
from batchscope.records.rows import KINDS, Rows

# Field -> the least it can be. Those of options are theirs.
_AT_LEAST = dict.fromkeys(("num_examples", "depth", "width", "batch_size", "num_weights", "num_parameters"), 1) | {
    **dict.fromkeys(("seed", "epochs_run", "steps_run"), 0),
    **{"epochs_to_target": sys.float_info.min, "steps_to_target": 1},  # first checked after a step: logs are taken
    **{name: option.at_least for name, option in OPTIONS.items() if option.at_least is not None},
}
_ABOVE_0 = ("step_size", "target_value")
_NAMES = {"phase": ("tune", "final"), "target_metric": METRICS}
# SQLite keeps integers up to 2^63, float64 those up to 2^53: no run takes more steps.
_MOST_STEPS = 2.0**53
_LONGEST_TEXT = 5000  # characters: a path of a data set is the longest; the messages of errors are what they are


def check_rows(rows: Rows) -> None:
    """Raise ValueError for the first field with an impossible value, saying which."""
    for name, (kind, optional) in KINDS.items():
        if kind is str:
            _check_texts(name, rows.column(name), optional)
    for name, names in _NAMES.items():
        _refuse(name, rows.column(name), np.isin(rows.column(name).astype(str), names))
    for name, least in _AT_LEAST.items():
        column = rows.column(name)
        allowed = (column >= least) | np.isnan(column) | (column == OPTIONS[name].default if name in OPTIONS else False)
        _refuse(name, column, allowed & ~np.isinf(column))
    for name in _ABOVE_0:
        _refuse(name, rows.column(name), (rows.column(name) > 0) & np.isfinite(rows.column(name)))
    reached = rows.column("outcome") == Outcome.REACHED
    for name in ("epochs_to_target", "steps_to_target"):
        _refuse(name, rows.column(name), np.isnan(rows.column(name)) != reached)


def check_evaluations(trials: NDArray[np.int64], numbers: Mapping[str, NDArray[np.float64]]) -> None:
    """Raise ValueError unless epochs and steps are known and go on within each trial. trials: [lines], ascending."""
    within = np.diff(trials) == 0
    for name in ("epoch", "step"):
        column = numbers[name]
        if not ((column >= 0) & (column <= _MOST_STEPS)).all():
            raise ValueError(f"an evaluation without its {name}")
        if (np.diff(column)[within] < 0).any():
            raise ValueError(f"evaluations whose {name} goes back")


def _check_texts(name: str, column: NDArray[Any], optional: bool) -> None:
    for value in set(column.tolist()) if name != "trial_id" else column.tolist():
        if not isinstance(value, str) and not (optional and value is None):
            raise ValueError(f"{name} is {str(value)[:100]!r}, not a text")
        if isinstance(value, str) and len(value) > _LONGEST_TEXT and name != "message":
            raise ValueError(f"{name} is a text of {len(value)} characters")


def _refuse(name: str, column: NDArray[Any], allowed: NDArray[np.bool_]) -> None:
    if not allowed.all():
        raise ValueError(f"{name} = {str(column[~allowed][0])[:100]}")
