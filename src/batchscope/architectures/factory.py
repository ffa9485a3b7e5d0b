"""Networks of the user's own code, named ``package.module:name``: a `Family`, or a function that makes networks.

A function of (depth, width, input_shape, d_out) that returns an nn.Module is a family too: its networks are counted
without memory for weights, widths are solved for the budget by bisection, and the hash of its code is part of every
trial's identity.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from batchscope.architectures.architecture import OWN, Architecture, Family, hidden_label
from batchscope.architectures.parameter import Counted, Parameter, RefusedError
from batchscope.errors import InputError
from batchscope.importing import import_object
from batchscope.own_code import check_source, source_of

if TYPE_CHECKING:
    from torch import nn

ARGUMENTS = ("depth", "width", "input_shape", "d_out")
# Assumption: networks further than this from the budget are no longer "at equal parameters".
BUDGET_TOLERANCE = 0.10
# A function may refuse widths, such as those that its heads do not divide: so many are tried above each.
REFUSED_IN_A_ROW = 64
LARGEST_WIDTH = 2**20


def own_family(name: str, source: str = "") -> Family:
    """The family that ``package.module:name`` is or makes; see `family_named`."""
    if source:
        return FactoryFamily(name, source)
    found = import_object(name, "family")
    if isinstance(found, Family):
        return found
    if isinstance(found, type) and issubclass(found, Family):
        return _instance(name, found)
    if not callable(found):
        raise InputError(
            f"family {name!r} is a {type(found).__name__}: expected a function of ({', '.join(ARGUMENTS)}) that "
            "returns an nn.Module, or a subclass of batchscope.architectures.Family"
        )
    _check_signature(name, found)
    return FactoryFamily(name, source_of(name, "family"))


@functools.cache
def _instance(name: str, kind: type[Family]) -> Family:
    try:
        return kind()
    except TypeError as error:
        raise InputError(
            f"family {name!r}: {error}; expected a class that needs no arguments, or an instance"
        ) from error


@dataclass(frozen=True)
class FactoryFamily(Family):
    """What a function of (depth, width, input_shape, d_out) makes. source: the hash of its code."""

    name: str
    source: str = ""
    activations = ("",)
    draws_weights = True

    def module(self, net: Architecture) -> nn.Module:
        """What the function returns. InputError when its code is not that of `source`, or it returns no module."""
        from batchscope.architectures.counting import required_module

        check_source(self.name, self.source, "family")
        return required_module(_call(import_object(self.name, "family"), net), _what(net))

    def parameters(self, net: Architecture) -> dict[str, Parameter]:
        return _counted(net).parameters

    def multiply_adds(self, net: Architecture) -> int:
        return _counted(net).multiply_adds

    def output_shape(self, net: Architecture) -> tuple[int, ...]:
        return _counted(net).output_shape

    def label(self, net: Architecture) -> str:
        version = f" {net.version}" if net.version else ""
        return f"{self.name.rpartition(':')[2]} {hidden_label(net.depth, net.width)}{version}"

    def solve_width(self, net: Architecture, budget: int) -> int:
        return Widths(net).nearest(budget)


OWN.append(own_family)


@functools.lru_cache(maxsize=256)
def _counted(net: Architecture) -> Counted:
    from batchscope.architectures.counting import count_module

    return count_module(lambda: net.kind.module(net), net.input_shape, _what(net))


def _what(net: Architecture) -> str:
    return f"family {net.family!r} at depth {net.depth}, width {net.width}"


class Widths:
    """The networks of one depth that a function makes, by width: their parameters, and which widths it refuses."""

    def __init__(self, net: Architecture) -> None:
        self.net, self.known = net, dict[int, int]()

    def nearest(self, budget: int) -> int:
        """The width nearest to the budget; InputError when none is within the tolerance, naming the nearest ones."""
        above = self.from_(1)
        while self.count(above) < budget:
            above = self.from_(2 * above)
            self._check_growth(above)
        below = max((width for width in self.known if self.known[width] < budget), default=above)
        while (middle := self.from_((below + above) // 2)) not in (below, above):
            below, above = (middle, above) if self.count(middle) < budget else (below, middle)
        while below < above and (middle := self.from_(below + 1)) < above:  # refused widths hide others below them
            below, above = (middle, above) if self.count(middle) < budget else (below, middle)
        self._check_growth(above)
        best = min((below, above), key=lambda width: (abs(self.count(width) - budget), width))
        if abs(self.count(best) - budget) > BUDGET_TOLERANCE * budget:
            raise InputError(self._too_far(budget, sorted({below, above})))
        return best

    def from_(self, width: int) -> int:
        """The first width from this one on that is not refused; the error of this one if all are."""
        refusal: RefusedError | None = None
        for candidate in range(width, min(width + REFUSED_IN_A_ROW, LARGEST_WIDTH)):
            try:
                self.count(candidate)
                return candidate
            except RefusedError as error:
                refusal = refusal or error
        raise refusal or InputError(
            f"family {self.net.family!r} at depth {self.net.depth}: widths up to {LARGEST_WIDTH} are below the budget; "
            "does the number of parameters depend on width?"
        )

    def count(self, width: int) -> int:
        """All parameters at a width."""
        if width not in self.known:
            self.known[width] = replace(self.net, width=width).num_parameters
        return self.known[width]

    def _check_growth(self, up_to: int) -> None:
        """Bisection needs numbers that grow with width."""
        known = sorted(item for item in self.known.items() if item[0] <= up_to)
        for (narrow, fewer), (wide, more) in itertools.pairwise(known):
            if more <= fewer:
                raise InputError(
                    f"family {self.net.family!r} at depth {self.net.depth}: {fewer} parameters at width {narrow}, "
                    f"{more} at width {wide}; expected more at larger widths: give shapes = [[depth, width], ...] "
                    "in place of a budget"
                )

    def _too_far(self, budget: int, nearest: list[int]) -> str:
        has = ", ".join(f"width {width} has {self.count(width)}" for width in nearest)
        return (
            f"family {self.net.family!r} at depth {self.net.depth}: no width meets the budget of {budget} parameters "
            f"within {BUDGET_TOLERANCE:.0%}: {has}; change the budget or the depths, or give shapes = [[depth, width], "
            "...] in its place"
        )


def _check_signature(name: str, make: Callable[..., Any]) -> None:
    if not (_takes(make, named=True) or _takes(make, named=False)):
        raise InputError(
            f"family {name!r} takes {inspect.signature(make)}; expected a function of ({', '.join(ARGUMENTS)}) that "
            "returns an nn.Module, or a subclass of batchscope.architectures.Family"
        )


def _call(make: Callable[..., Any], net: Architecture) -> Any:
    """By name where the function has these names, else in their order."""
    values = {name: getattr(net, name) for name in ARGUMENTS}
    return make(**values) if _takes(make, named=True) else make(*values.values())


def _takes(make: Callable[..., Any], named: bool) -> bool:
    try:
        signature = inspect.signature(make)
        signature.bind(**dict.fromkeys(ARGUMENTS)) if named else signature.bind(*ARGUMENTS)
    except TypeError:
        return False
    except ValueError:  # a function of C: it does not say
        return not named
    return True
