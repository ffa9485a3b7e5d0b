"""The options of a study, each declared once. No torch.

`Study`, `Settings` or `Architecture`, and `Row` have their fields from here; from a declaration also come its
validation, its part in a trial's identity, the column of stores and exports, the text of `plan`, and the table of keys
in docs/studies.md. Rows that differ in an option are never compared as if they did not.

To add an option, two files:

1. here, a line in `TrainingOptions` (how a network is trained) or `ArchitectureOptions` (which network it is)::

       weight_decay: float = option(0.0, "coefficient of the decay", at_least=0, formerly=0.0, optimizers=("sgd",))

   formerly: what was done before there was a choice. Trials at that value keep the identity they had, and rows stored
   before are read with it; so give it to every new option, also where the default is another value.
2. the code that acts on it, which finds ``settings.weight_decay`` (or ``architecture.NAME``).

Then ``python -m batchscope.studies.keys docs/studies.md`` writes the table anew (a test says so when it is not).

The values of an option that is a name are listed where they are acted on, by ``offer("optimizer", OPTIMIZERS)``: to add
one, no declaration is touched.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, cast

from batchscope.errors import InputError, closest, shown

# Traits of what is the user's own code, and of networks that draw their initial weights themselves.
OWN_INITIAL_WEIGHTS = "networks that draw their own"
OWN_NETWORKS, OWN_LOSSES, OWN_METRICS = "networks of your own", "a loss of your own", "a metric of your own"
ALWAYS_A_CHOICE: Any = object()  # as the value before there was a choice: there was none
_OFFERED: dict[str, Collection[str]] = {}
# Counts and coefficients end far beyond what can be trained, so that every count of steps (of MOST_EXAMPLES, see
# studies/bounds.py) fits the 64 bits of the store, and every product stays finite in float32.
MOST_EPOCHS, MOST_PASSES, MOST_CHECKS = 10**6, 10**3, 10**4  # a check is a pass over the data and a line of the store
LARGEST_COEFFICIENT, MOST_FILTERS = 10**6, 10**6
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


@dataclass(frozen=True, kw_only=True)
class ArchitectureOptions:
    """Which network it is, besides family, depth and width."""

    __slots__ = ()

    activation: str = option("", "after every hidden layer", choices=None, by_family=True)
    bias: bool = option(True, "whether every layer adds one (as in Keras)", families=("fully-connected nets",))
    norm: str = option("", "normalisation", choices=None, formerly="", by_family=True)
    filters: int = option(
        0,
        "of the first chunk; 64 if left out",
        at_least=1,
        below=MOST_FILTERS,
        formerly=0,
        families=("nets with filters to choose",),
    )
    version: str = option(
        "",
        "a word of yours for what your network's code does not show; another word, another network",
        formerly="",
        families=(OWN_NETWORKS,),
    )
    source: str = option(
        "", "hash of your network's code, filled in; changed code is refused", formerly="", families=(OWN_NETWORKS,)
    )


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """How a network is trained, besides batch size, step size, seed and target."""

    __slots__ = ()

    max_epochs: int = option(
        100, "epochs before a run counts as censored", at_least=1, below=MOST_EPOCHS, compared=False
    )
    passes_per_epoch: int = option(
        1,
        "passes over the data that count as one epoch, for a sample that stands for a larger set",
        at_least=1,
        below=MOST_PASSES,
        formerly=1,
    )
    evaluations_per_epoch: int = option(1, "checks of the target in every epoch", at_least=1, below=MOST_CHECKS)
    optimizer: str = option("sgd", "update rule", choices=None)
    momentum: float = option(
        0.0,
        "momentum's coefficient; at 0 nesterov and lars take the published 0.9",
        at_least=0,
        below=1,
        optimizers=("sgd", "nesterov", "rmsprop", "lars"),
    )
    beta1: float = option(
        0.9, "memory of the mean gradient", at_least=0, below=1, formerly=0.9, optimizers=("adam", "adamw", "lamb")
    )
    beta2: float = option(
        0.999, "memory of the mean square", at_least=0, below=1, formerly=0.999, optimizers=("adam", "adamw", "lamb")
    )
    rho: float = option(
        0.0,
        "memory of the mean square; at 0 as published: rmsprop 0.9, adadelta 0.95",
        at_least=0,
        below=1,
        formerly=0.0,
        optimizers=("rmsprop", "adadelta"),
    )
    epsilon: float = option(
        0.0,
        "added to the denominator; at 0 as published: adam, adamw, rmsprop 1e-8, adagrad 1e-10, adadelta, lamb 1e-6",
        at_least=0,
        below=LARGEST_COEFFICIENT,
        formerly=0.0,
        optimizers=("adam", "adamw", "rmsprop", "adagrad", "adadelta", "lamb"),
    )
    trust: float = option(
        0.0,
        "LARS's trust coefficient; at 0 the published 0.001",
        at_least=0,
        below=LARGEST_COEFFICIENT,
        formerly=0.0,
        optimizers=("lars",),
    )
    weight_decay: float = option(
        0.0,
        "joins the gradient, but for adamw, lars and lamb, which apply it as published",
        at_least=0,
        below=LARGEST_COEFFICIENT,
        formerly=0.0,
    )
    schedule: str = option(
        "constant",
        "how the step size falls to 0 by the end of `schedule_epochs`, after the warm-up",
        choices=("constant", "linear", "cosine"),
        formerly="constant",
    )
    schedule_epochs: int = option(
        0, "epochs of the schedule; max_epochs at 0", at_least=0, below=MOST_EPOCHS, formerly=0
    )
    warmup_epochs: float = option(
        0.0,
        "epochs in which the step size rises from 0 (Goyal et al. 2017)",
        at_least=0,
        below=MOST_EPOCHS,
        formerly=0.0,
    )
    initialisation: str = option(
        "glorot_uniform",
        "distribution of the initial weights; as_made if left out for networks of your own and gpt",
        choices=None,
        families=(OWN_INITIAL_WEIGHTS,),
        limited=("as_made",),
    )
    sampling: str = option(
        "permutation", "every example once an epoch, or drawn anew (Eq. 3.1 of Chen et al. 2018)", choices=None
    )
    dtype: str = option(
        "float32",
        "bfloat16: autocast, with weights and updates in float32",
        choices=("float32", "float64", "bfloat16"),
        families=("families of images",),
        limited=("bfloat16",),
    )
    diversity_every: int = option(
        0, "epochs between measurements of gradient diversity; 0: never", at_least=0, below=MOST_EPOCHS
    )
    augmentation: str = option(
        "none",
        "of the images trained on; the target is checked on the images as they are",
        choices=("none", "pad_crop_flip"),
        formerly="none",
        families=("families of images",),
    )
    loss: str = option(
        "",
        "of each example, a function of (outputs, targets) that returns [N]; cross-entropy for classes and tokens, "
        "else half the square, if left out",
        own=True,
        formerly="",
    )
    loss_source: str = option("", "hash of its code, filled in", formerly="", families=(OWN_LOSSES,))
    metric: str = option(
        "",
        "of each example, a function of (outputs, targets) that returns [N], for the targets train_metric_at_least and "
        "train_metric_at_most",
        own=True,
        formerly="",
    )
    metric_source: str = option("", "hash of its code, filled in", formerly="", families=(OWN_METRICS,))
    batchnorm_shares: int = option(
        1,
        "equal parts of a batch over each of which BatchNorm takes its statistics",
        at_least=1,
        below=LARGEST_COEFFICIENT,
        formerly=1,
        families=("nets with BatchNorm",),
    )

    @property
    def is_scheduled(self) -> bool:
        """Whether the step size changes along the run."""
        return self.schedule != "constant" or self.warmup_epochs > 0


def options_of(declared: type) -> Mapping[str, Option]:
    """Name -> option, of a dataclass that has options among its fields."""
    return _options_of(cast(Hashable, declared))


@functools.cache
def _options_of(declared: Any) -> Mapping[str, Option]:
    found = {f.name: f.metadata["option"] for f in dataclasses.fields(declared) if "option" in f.metadata}
    return MappingProxyType({name: Option(name=name, **values) for name, values in found.items()})


OPTIONS = MappingProxyType({**options_of(ArchitectureOptions), **options_of(TrainingOptions)})


def check_options(record: ArchitectureOptions | TrainingOptions) -> None:
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


def _listed(words: tuple[str, ...]) -> str:
    return " or ".join(words)
