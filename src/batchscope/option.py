"""What an option of a study is: its domain, what it is for, and what is wrong with a value. No torch."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, cast

from batchscope.errors import InputError, closest, shown

ALWAYS_A_CHOICE: Any = object()  # as the value before there was a choice: there was none
_OFFERED: dict[str, Collection[str]] = {}
_NOUNS = {bool: "true or false", int: "an integer", float: "a number", str: "a text"}


def offer(option: str, names: Collection[str]) -> None:
    """Declare the names an option may take; `names` may grow later. A mapping says what each of them means."""
    _OFFERED[option] = names


@dataclass(frozen=True)
class Option:
    """One declaration.

    name: of the field. default: also says what type the values have; the default itself is always allowed, and an empty
        text or a 0 below `at_least` stands for "as the family has it".
    meaning: one line, for tables.
    choices: the names it may take, if it is a name; None for those that a room offers (see `offer`).
    by_family: whether every family has names of its own for it (`Family.choices`), the first of which is its default.
    own: whether it names something of the user's own, ``package.module:name``.
    at_least, below: bounds of a number, included and excluded.
    formerly: what was done before there was a choice; left out of options as old as the first stored trials.
    families: traits of the families it is for (see `Family.traits`); none for all. optimizers: likewise, by name.
    limited: the values that are for those only; none for all but the default.
    compared: whether rows must agree in it to be compared; else the analysis copes with rows that do not.
    """

    name: str
    default: Any
    meaning: str
    choices: Collection[str] | None = ()
    by_family: bool = False
    own: bool = False
    at_least: float | None = None
    below: float | None = None
    formerly: Any = ALWAYS_A_CHOICE
    families: tuple[str, ...] = ()
    optimizers: tuple[str, ...] = ()
    limited: tuple[Any, ...] = ()
    compared: bool = True

    @property
    def names(self) -> Collection[str]:
        """The names it may take; nothing where it is no name."""
        if self.choices is not None:
            return self.choices
        if self.name not in _OFFERED:
            raise LookupError(f"nobody offered values of {self.name!r}: the room that acts on it was not imported")
        return _OFFERED[self.name]

    @property
    def domain(self) -> str:
        """The values it may take, in words: ``relu, tanh``, ``number, 0 <= x < 1``."""
        if self.own:
            return "package.module:name"
        if self.names:
            return ", ".join(self.names)
        noun = _NOUNS[type(self.default)].removeprefix("an ").removeprefix("a ")
        low = "" if self.at_least is None else f"{self.at_least:g} <= "
        high = "" if self.below is None else f" < {self.below:g}"
        return f"{noun}, {low}x{high}" if low or high else noun

    def problem(self, value: Any) -> str | None:
        """What is wrong with a value, in words; None where nothing is."""
        if self._has_type(value) and value == self.default:
            return None
        if self.by_family and isinstance(value, str):
            return None
        if self.names and isinstance(value, str) and value not in self.names:
            return f"unknown {self.name} {shown(value)}: {closest(value, self.names)}"
        if self._has_type(value) and self.in_range(value) and (not self.own or ":" in value):
            return None
        return f"{self.name} = {shown(value)}; expected {self._expected}"

    def misuse(self, value: Any, traits: Collection[str], family: str, optimizer: str) -> str | None:
        """What is wrong with a valid value for a network of such a family, trained so; None where nothing is."""
        if value == self.default or (self.limited and value not in self.limited):
            return None
        for kind, given, allowed, has in (
            ("family", family, self.families, traits),
            ("optimizer", optimizer, self.optimizers, (optimizer,)),
        ):
            if allowed and not set(allowed) & set(has):
                return (
                    f"{self.name} = {value!r} has no meaning for {kind} {given!r}; leave it out: it is for "
                    f"{_listed(allowed)}"
                )
        return None

    def applies(self, traits: Collection[str], optimizer: str) -> bool:
        """Whether any other value than the default has a meaning for networks of such a family, trained so."""
        if self.limited:
            return True
        return bool(
            (not self.families or set(self.families) & set(traits))
            and (not self.optimizers or optimizer in self.optimizers)
        )

    def _has_type(self, value: Any) -> bool:
        kind = type(self.default)
        return type(value) is kind or (kind is float and type(value) is int)

    def in_range(self, value: Any) -> bool:
        """Whether a number is within the bounds; any other value is."""
        if not isinstance(value, int | float):
            return True
        low = -math.inf if self.at_least is None else self.at_least
        return low <= value < (math.inf if self.below is None else self.below)  # so is no infinity, and no NaN

    @property
    def _expected(self) -> str:
        if self.own:
            return "package.module:name of a function of your own"
        if self.names:
            return f"one of {', '.join(map(repr, self.names))}"
        bounds = [f"at least {self.at_least:g}"] if self.at_least is not None else []
        bounds += [f"below {self.below:g}"] if self.below is not None else []
        return " ".join([_NOUNS[type(self.default)], " and ".join(bounds)]).strip()


def option(default: Any, meaning: str, **rest: Any) -> Any:
    """Return a dataclass field that declares an option; `rest`: the other fields of `Option` but the name."""
    return dataclasses.field(default=default, metadata={"option": {"default": default, "meaning": meaning} | rest})


def options_of(declared: type) -> Mapping[str, Option]:
    """Name -> option, of a dataclass that has options among its fields."""
    return _options_of(cast(Hashable, declared))


@functools.cache
def _options_of(declared: Any) -> Mapping[str, Option]:
    found = {f.name: f.metadata["option"] for f in dataclasses.fields(declared) if "option" in f.metadata}
    return MappingProxyType({name: Option(name=name, **values) for name, values in found.items()})


def check_options(record: Any) -> None:
    """Raise InputError for the first option of a record that has an impossible value."""
    for name, declared in options_of(type(record)).items():
        problem = declared.problem(getattr(record, name))
        if problem:
            raise InputError(problem)


def options_given(record: Any) -> dict[str, Any]:
    """Return the options of a record, by name."""
    return {name: getattr(record, name) for name in options_of(type(record))}


def identity(record: Any) -> dict[str, Any]:
    """Return a frozen record as a dictionary without the options at the value they had before there was a choice."""
    options = options_of(type(record))
    content = dataclasses.asdict(record)
    return {name: value for name, value in content.items() if name not in options or value != options[name].formerly}


def canonical(content: Any) -> str:
    """Return JSON that is the same text whenever the content is the same: what identities hash."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _listed(words: tuple[str, ...]) -> str:
    return " or ".join(words)
