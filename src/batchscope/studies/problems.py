"""What is wrong with the keys of a study, in one message."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from pydantic import ValidationError

from batchscope.errors import closest, shown
from batchscope.studies import bounds
from batchscope.studies.key_types import StepSizes


def explained(error: ValidationError, values: Mapping[str, Any], keys: Collection[str]) -> str:
    """All problems in one message: what came, what was expected. keys: of a study file."""
    where = f"study {shown(values['name'])}" if isinstance(values.get("name"), str) else "study"
    problems = error.errors(include_url=False, include_context=False)
    shown_ones = [_one_problem(problem, keys) for problem in problems[: bounds.PROBLEMS_SHOWN]]
    more = len(problems) - len(shown_ones)
    return f"{where}: " + "; ".join([*shown_ones, *([f"and {more} more"] if more else [])])


def _one_problem(problem: Any, keys: Collection[str]) -> str:
    place = ".".join(str(part) for part in problem["loc"])[: 2 * bounds.LONGEST_NAME]
    if problem["type"] == "extra_forbidden":
        valid = StepSizes.model_fields if problem["loc"][0] == "step_sizes" else keys
        return f"unknown key {shown(place)}: {closest(str(problem['loc'][-1]), valid)}"
    if problem["type"] == "missing":
        return f"the key {place!r} is missing"
    reason = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "option":
        return str(reason)
    if problem["type"] == "value_error":
        return f"{place}: {reason}" if place else reason
    return f"{place} = {shown(problem['input'])}: {reason[:1].lower()}{reason[1:]}"
