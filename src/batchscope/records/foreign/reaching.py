"""When a series of measurements first meets a target: what becomes of a logged curve. No torch."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from batchscope.errors import InputError

_SIGNS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}


@dataclass(frozen=True)
class Goal:
    """``val/error <= 0.3``: a metric's name, a sign and a number."""

    metric: str
    sign: str
    value: float

    @classmethod
    def parse(cls, text: str) -> Goal:
        """Read it. Raises InputError for anything else.

        >>> Goal.parse("val/error < 0.3")
        Goal(metric='val/error', sign='<', value=0.3)
        """
        match = re.fullmatch(r"\s*(.+?)\s*(<=|>=|<|>)\s*(\S+)\s*", text)
        try:
            return cls(match[1], match[2], float(match[3]))  # type: ignore[index]
        except (TypeError, ValueError):
            raise InputError(f"target {text!r}; expected a metric, a sign and a number: 'val/error <= 0.3'") from None

    def met(self, value: float) -> bool:
        """NaN never meets it."""
        return _SIGNS[self.sign](value, self.value)


def reaching(goal: Goal, steps: Sequence[float], values: Sequence[float]) -> dict[str, Any]:
    """The columns of `records.plain` for one run: steps, steps_before and whether the target was reached.

    steps: ascending, N of them. values: the metric at each; NaN where it was not measured. A run without a value is
    {"reached": False}, with the steps it ran.
    """
    before = 0.0
    for step, value in zip(steps, values, strict=True):
        if math.isnan(value):
            continue
        if goal.met(value):
            return {"steps": max(step, 1), "steps_before": min(before, step), "reached": True}
        before = step
    return {"steps": max(steps, default=0), "reached": False}
