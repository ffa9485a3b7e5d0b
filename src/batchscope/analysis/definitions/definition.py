"""`Definition`: a name, a number and words for B*, and the function that computes it; `define` registers one."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from batchscope.analysis.sweeps import Sweep
from batchscope.analysis.threshold_estimate import Request, ThresholdEstimate
from batchscope.errors import InputError, choose

Estimating = Callable[[Sweep, float, Request], ThresholdEstimate]


@dataclass(frozen=True)
class Definition:
    """A named definition of B*.

    needs: what its number in parentheses is ("": it takes none); default: that number when none is given (NaN: it must
    be). meaning: the definition in words, with {number} and {percent} for the number. estimate: what computes it.
    larger_is_better: False where the number is the batch a shape needs, not the batch it takes. claim: what is said of
    the better of two shapes.
    """

    needs: str
    default: float
    meaning: str
    estimate: Estimating
    larger_is_better: bool = True
    claim: str = "takes a larger batch than"


DEFINITIONS: dict[str, Definition] = {}


def define(
    name: str, meaning: str, needs: str = "", default: float = math.nan, **options: str | bool
) -> Callable[[Estimating], Estimating]:
    """Register the function below as the definition `name`; the other arguments are fields of `Definition`."""

    def register(function: Estimating) -> Estimating:
        DEFINITIONS[name] = Definition(needs, default, meaning, function, **options)  # type: ignore[arg-type]
        return function

    return register


def describe(definition: str) -> str:
    """A definition in words, with its number."""
    name, parameter = parse_definition(definition)
    return DEFINITIONS[name].meaning.format(number=parameter, percent=100 * parameter)


def parse_definition(text: str) -> tuple[str, float]:
    """``within_epochs(10)`` -> ("within_epochs", 10.0); a bare name takes its default. Raises InputError."""
    match = re.fullmatch(r"\s*([a-z_0-9]+?)\s*(?:\(\s*([^()]*?)\s*\))?\s*", text)
    if match is None:
        raise InputError(f"definition {text!r}; expected a name such as 'paper2018' or 'within_epochs(10)'")
    name = choose("definition of the threshold", match[1], DEFINITIONS)
    needs, default = DEFINITIONS[name].needs, DEFINITIONS[name].default
    if match[2] is None:
        if needs and math.isnan(default):
            raise InputError(f"definition {text!r} without its {needs}; expected '{name}(NUMBER)'")
        return name, default
    try:
        parameter = float(match[2])
    except ValueError:
        parameter = math.nan
    if not needs or not (0 < parameter < math.inf):
        expected = f"a {needs} above 0" if needs else f"no number: {name!r}"
        raise InputError(f"definition {text!r} with ({match[2]}); expected {expected}")
    return name, parameter
