"""`Study`: what shall be trained, validated word by word; a study file is its fields in TOML. No torch."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import tomli_w
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    InstanceOf,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from batchscope.architectures.architecture import DEEPEST, FAMILIES, WIDEST, Family, check_choice, family_named
from batchscope.architectures.budget import LARGEST_BUDGET
from batchscope.architectures.initialisation import AS_MADE
from batchscope.errors import InputError, choose, closest, shown
from batchscope.importing import look_in
from batchscope.options import (
    OPTIONS,
    OWN_LOSSES,
    OWN_METRICS,
    ArchitectureOptions,
    TrainingOptions,
    options_of,
)
from batchscope.own_code import source_of
from batchscope.records.row import ACCURACIES, METRICS, Target
from batchscope.records.row import OWN_METRICS as TARGETS_OF_OWN_METRICS
from batchscope.studies import bounds
from batchscope.training import settings  # noqa: F401  offers the names that training options take

PROTOCOLS = ("paper2018", "tuned", "fixed")
# Key of study files -> the scheme of `batchscope.data.load`.
INPUTS = {"standardised": None, "unit": "none", "raw": "raw", "tokens": "tokens"}
MAX_STEP_SIZES = 100


def _printable(name: str) -> str:
    if not name.isprintable():
        raise ValueError(f"{shown(name)} holds control characters; expected a text on one line")
    return name


Examples = Annotated[int, Field(strict=True, ge=1, le=bounds.MOST_EXAMPLES)]
Depth = Annotated[int, Field(strict=True, ge=1, le=DEEPEST)]
Width = Annotated[int, Field(strict=True, ge=1, le=WIDEST)]
Step = Annotated[float, Field(strict=True, ge=bounds.SMALLEST_STEP, le=bounds.LARGEST_STEP)]
Name = Annotated[str, Field(strict=True, min_length=1, max_length=bounds.LONGEST_NAME), AfterValidator(_printable)]
LongName = Annotated[str, Field(strict=True, min_length=1, max_length=bounds.LONGEST_PATH), AfterValidator(_printable)]
Budget = Annotated[int, Field(strict=True, ge=1, le=LARGEST_BUDGET)]
Seeds = Annotated[int, Field(strict=True, ge=1, le=bounds.MOST_SEEDS)]
Seed = Annotated[int, Field(strict=True, ge=0, le=bounds.LARGEST_SEED)]
DataOption = bool | int | float | str | tuple[int, ...] | tuple[str, ...]
_FEW = Field(max_length=bounds.MOST_ENTRIES)
Depths = Annotated[tuple[Depth, ...], _FEW]
Shapes = Annotated[tuple[tuple[Depth, Width], ...], _FEW]
BatchSizes = Annotated[tuple[Examples, ...], _FEW]
Texts = Annotated[tuple[str, ...], _FEW]


def says(values: str, meaning: str) -> Any:
    """What a key of study files may be and what it means, for the table in the documentation."""
    return Field(description=meaning, examples=[values])


class StepSizes(BaseModel):
    """The geometric grid min, min*ratio, ..., up to max, continued on both sides by the same ratio when widened."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min: Step
    max: Step
    ratio: Annotated[float, Field(strict=True, gt=1, le=bounds.LARGEST_RATIO)] = 2.0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max < self.min:
            raise ValueError(f"max = {self.max:g} is below min = {self.min:g}; expected min <= max")
        if self.size > MAX_STEP_SIZES:
            raise ValueError(
                f"{self.size} step sizes; expected at most {MAX_STEP_SIZES}: raise ratio or narrow the range"
            )
        return self

    @property
    def size(self) -> int:
        """Number of values from min to max; a max off the grid by less than rounding still counts."""
        return 1 + math.floor(math.log(self.max / self.min) / math.log(self.ratio) + 1e-9)

    def at(self, index: int) -> float:
        """Return min * ratio**index, rounded to 12 significant digits so that every platform gives the same float.

        >>> [StepSizes(min=0.01, max=0.08).at(k) for k in (-1, 0, 3)]
        [0.005, 0.01, 0.08]
        """
        return float(f"{self.min * self.ratio**index:.12g}")

    @property
    def values(self) -> tuple[float, ...]:
        """The grid as the study file gives it, before any widening."""
        return tuple(self.at(index) for index in range(self.size))

    def __contains__(self, step_size: float) -> bool:
        return step_size in self.values


class Study(BaseModel, ArchitectureOptions, TrainingOptions, frozen=True, extra="forbid"):
    """One data set, some shapes at equal parameters, some batch sizes, one target: what `run` finishes.

    Its fields are the keys of a study file (see the table in docs/studies.md): those below, and the options of
    batchscope/options.py. Given by name.

    Raises InputError for unknown keys (naming the closest), impossible values and impossible combinations.
    """

    name: Annotated[Name, says("text", "how tables and directories call it")]
    dataset: Annotated[
        LongName, says("a name that `batchscope data list` knows, or data of your own", 'see "Data of your own"')
    ]
    num_examples: Annotated[
        Examples | None, says("integer", "a seeded subset of so many training examples; all if left out")
    ] = None
    dataset_options: Annotated[dict[str, DataOption], says("such as { d_in = 100 }", "of the data set")] = {}
    family: Annotated[Name, says(", ".join((*FAMILIES, "package.module:name")), 'see "Families of networks"')] = (
        "fully_connected"
    )
    budget: Annotated[Budget | None, says("integer", "weights or parameters of every network; with `depths`")] = None
    depths: Annotated[Depths | None, says("list of integers", "the width of each is solved for the budget")] = None
    shapes: Annotated[Shapes | None, says("list of [depth, width]", "instead of budget and depths")] = None
    batch_sizes: Annotated[BatchSizes, says("list of integers", "examples per step")]
    target: Annotated[
        InstanceOf[Target],
        says(
            "{ train_accuracy = fraction }, { train_accuracy_running = fraction }, { train_loss = value }, "
            "{ heldout_loss = value }, { train_metric_at_least = value } or { train_metric_at_most = value }",
            "when a run has converged; running: over the mini-batches of an epoch, as Keras prints it; see `metric`",
        ),
    ]
    num_seeds: Annotated[Seeds, says("integer", "reported runs of every cell; they use seed + 1, seed + 2, ...")] = 5
    protocol: Annotated[
        Literal["paper2018", "tuned", "fixed"], says(", ".join(PROTOCOLS), "how step sizes are tuned")
    ] = "paper2018"
    step_sizes: Annotated[StepSizes, says("{ min, max, ratio }", "grid tuned over, for the mean loss")] = StepSizes(
        min=0.01, max=2.56
    )
    sum_step_size: Annotated[
        Step | None, says("number", "for the sum of a batch's losses; with protocol fixed, which tunes nothing")
    ] = None
    inputs: Annotated[
        Literal["standardised", "unit", "raw", "tokens"],
        says(
            ", ".join(INPUTS),
            "as the data set standardises them, divided by its unit (255 for bytes), as stored, or whole numbers as "
            "they are, for embeddings",
        ),
    ] = "standardised"
    seed: Annotated[Seed, says("integer", "of the tuning runs, the subset and generated data")] = 0
    assumptions: Annotated[
        Texts, says("list of texts", "every value that is not the paper's; outputs repeat them")
    ] = ()
    scaled: Annotated[str, says("text", "how it is smaller than what it stands for; outputs repeat it")] = ""

    def __init__(self, /, **values: Any) -> None:
        if "data" in values and "dataset" not in values:  # as people write it where it is a function of theirs
            values["dataset"] = values.pop("data")
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise InputError(_explain(error, values)) from None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Study:
        """Build a study from the keys of a study file."""
        return cls(**dict(values))

    @classmethod
    def from_toml(cls, source: str | Path) -> Study:
        """Read a study from a TOML file (a path) or from TOML text (a string with a line break or an equals sign).

        Raises InputError for a file that cannot be read, is no TOML, or holds several studies (see `read_studies`).
        """
        studies = read_studies(source)
        if len(studies) != 1:
            raise InputError(f"{len(studies)} studies where one is expected; use batchscope.studies.read_studies")
        return studies[0]

    def to_toml(self) -> str:
        """Return the study as the text of a study file; `from_toml` gives the same study back."""
        return to_toml(self)

    def to_dict(self) -> dict[str, Any]:
        """Return the keys of a study file with plain values, leaving out what is None, empty or without a meaning."""
        names = sorted(type(self).model_fields, key=lambda name: name in OPTIONS)  # what is trained, then how
        values = {name: getattr(self, name) for name in names if name not in OPTIONS or self.has(name)}
        values["target"] = {self.target.metric: self.target.value}
        values["step_sizes"] = None if self.protocol == "fixed" else self.step_sizes.model_dump()
        values["inputs"] = None if self.inputs == "standardised" else self.inputs
        return {key: value for key, value in values.items() if value not in (None, (), {}, "")}

    def has(self, option: str) -> bool:
        """Whether there is a choice of this option for the study's networks, trained as they are."""
        names = self._kind.choices.get(option)
        if names is not None:
            return len(names) > 1
        return OPTIONS[option].applies(self._traits, self.optimizer)

    def _check_size(self) -> None:
        depths = [depth for depth, _ in self.shapes] if self.shapes is not None else list(self.depths or ())
        layers = len(self.batch_sizes) * sum(depth + 1 for depth in depths)
        if layers > bounds.MOST_LAYERS:
            raise ValueError(
                f"its cells have {layers} layers in all; expected at most {bounds.MOST_LAYERS}: fewer batch sizes, or "
                "fewer or less deep shapes"
            )

    def _check_protocol(self) -> None:
        fixed = self.protocol == "fixed"
        if fixed and (self.sum_step_size is None or "step_sizes" in self.model_fields_set):
            raise ValueError(
                "protocol = 'fixed' takes one step size at all batch sizes; expected sum_step_size, and no step_sizes"
            )
        if not fixed and self.sum_step_size is not None:
            raise ValueError(f"sum_step_size is for protocol 'fixed', not {self.protocol!r}; leave it out")

    @property
    def architecture_options(self) -> dict[str, Any]:
        """The options of `ArchitectureOptions`, by name."""
        return {name: getattr(self, name) for name in options_of(ArchitectureOptions)}

    @property
    def training_options(self) -> dict[str, Any]:
        """The options of `TrainingOptions`, by name."""
        return {name: getattr(self, name) for name in options_of(TrainingOptions)}

    @property
    def _traits(self) -> frozenset[str]:
        own = {OWN_LOSSES: self.loss, OWN_METRICS: self.metric}
        return self._kind.traits(self.norm) | {trait for trait, name in own.items() if name}

    @property
    def _kind(self) -> Family:
        return family_named(self.family, self.source)

    @field_validator("dataset_options")
    @classmethod
    def _no_key_of_the_study(cls, options: dict[str, DataOption]) -> dict[str, DataOption]:
        for name in ("name", "data_dir", "num_examples", "seed"):
            if name in options:
                raise ValueError(f"{name!r} is no data set option; the study has keys of its own for it")
        return options

    @field_validator("target", mode="before")
    @classmethod
    def _parse_target(cls, value: Any) -> Target:
        if isinstance(value, Target):
            value = {value.metric: value.value}
        if not isinstance(value, Mapping) or len(value) != 1:
            raise ValueError(f"expected one of {', '.join(f'{{ {metric} = value }}' for metric in METRICS)}")
        metric, number = next(iter(value.items()))
        if metric not in METRICS:
            raise ValueError(f"unknown metric {shown(metric)}: {closest(str(metric), METRICS)}")
        if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number < math.inf:
            raise ValueError(f"{metric} = {shown(number)}; expected a positive number")
        if metric in ACCURACIES and number > 1:
            raise ValueError(f"{metric} = {number:g}; expected a fraction in (0, 1], such as 0.96 for 96 %")
        return Target(metric, float(number))

    @field_validator(*OPTIONS, mode="before")
    @classmethod
    def _possible(cls, value: Any, info: ValidationInfo) -> Any:
        problem = OPTIONS[str(info.field_name)].problem(value)
        if problem:
            raise PydanticCustomError("option", "{problem}", {"problem": problem})
        return value

    @field_validator("inputs", mode="before")
    @classmethod
    def _known_inputs(cls, value: Any) -> Any:
        return choose("inputs", value, INPUTS)

    @field_validator("protocol", mode="before")
    @classmethod
    def _known_protocol(cls, value: Any) -> Any:
        return choose("protocol", value, PROTOCOLS)

    @field_validator("batch_sizes", "depths", "shapes")
    @classmethod
    def _some_and_distinct(cls, values: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
        if values is None:
            return None
        if not values:
            raise ValueError("the list is empty; expected at least one entry")
        if len(set(values)) < len(values):
            raise ValueError(f"an entry is repeated in {shown(list(values))}; expected distinct entries")
        return tuple(sorted(values))

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        by_budget = (self.budget is not None) + (self.depths is not None)
        if (by_budget, self.shapes is not None) not in ((2, False), (0, True)):
            given = [key for key in ("budget", "depths", "shapes") if getattr(self, key) is not None]
            raise ValueError(f"got {given or 'none of budget, depths, shapes'}; expected budget with depths, or shapes")
        self._check_size()
        self._check_protocol()
        self._fill_in()
        for name, names in self._kind.choices.items():
            if getattr(self, name):
                check_choice(name, getattr(self, name), names, self.family)
        object.__setattr__(self, "activation", self.activation or self._kind.activations[0])
        for name, option in OPTIONS.items():
            problem = option.misuse(getattr(self, name), self._traits, self.family, self.optimizer)
            if problem:
                raise ValueError(problem)
        return self

    def _fill_in(self) -> None:
        """What follows from own code and is not given. A run directory's file gives it: there nothing is imported."""
        if not self.source:
            object.__setattr__(self, "source", self._kind.source)
        for name in ("loss", "metric"):
            if getattr(self, name) and not getattr(self, f"{name}_source"):
                object.__setattr__(self, f"{name}_source", source_of(getattr(self, name), name))
        if self._kind.draws_weights and "initialisation" not in self.model_fields_set:
            object.__setattr__(self, "initialisation", AS_MADE)
        if bool(self.metric) != (self.target.metric in TARGETS_OF_OWN_METRICS):
            raise ValueError(
                f"metric = {self.metric!r} with the target {self.target.metric}; expected a metric of your own with "
                f"the target {' or '.join(TARGETS_OF_OWN_METRICS)}, or neither"
            )


Studies = tuple[Study, ...]


def as_studies(study: Study | Sequence[Study]) -> Studies:
    """Return one study or several as a tuple; raise InputError for none at all and for two of one name."""
    studies = (study,) if isinstance(study, Study) else tuple(study)
    names = [s.name for s in studies]
    if not studies:
        raise InputError("no study was given; expected a Study, or several with distinct names")
    if len(set(names)) < len(names):
        raise InputError(f"two studies of one name in {names}; give each its own name")
    return studies


def read_studies(source: str | Path) -> Studies:
    """Read all studies of a TOML file (a path) or of TOML text (a string with a line break or an equals sign).

    Several studies are an array of tables ``[[studies]]``. Own code and data that they name are looked for beside the
    file too. Raises InputError for what cannot be read or is no study.
    """
    is_text = isinstance(source, str) and ("\n" in source or "=" in source)
    where = "the text" if is_text else str(source)
    text = str(source) if is_text else _text_of(Path(source))
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # no TOML, an integer of 5000 digits; 3000 brackets
        raise InputError(
            f"{where} is not valid TOML: {str(error)[:200]}; every line is key = value, texts in quotes"
        ) from None
    if not is_text:
        look_in(Path(source).resolve().parent)
    given = values.get("studies")
    if isinstance(given, list):
        if len(given) > bounds.MOST_ENTRIES:
            raise InputError(f"{where} holds {len(given)} studies; expected at most {bounds.MOST_ENTRIES}")
        return as_studies([Study.from_dict(_table(entry)) for entry in given])
    return (Study.from_dict(values),)


def _text_of(path: Path) -> str:
    """The content of a study file; InputError for what cannot be one, before it is read."""
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"the study file {path} is no file")
        with path.open("rb") as file:
            content = file.read(bounds.LARGEST_FILE + 1)
        if len(content) > bounds.LARGEST_FILE:
            raise InputError(f"the study file {path} is larger than {bounds.LARGEST_FILE >> 20} MiB: no study is")
        return content.decode()
    except OSError as error:
        raise InputError(f"the study file {path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not valid TOML: {error}; expected UTF-8") from None


def to_toml(*studies: Study) -> str:
    """Return the text of a study file that `read_studies` reads back as the same studies."""
    if len(studies) == 1:
        return tomli_w.dumps(studies[0].to_dict())
    return tomli_w.dumps({"studies": [study.to_dict() for study in studies]})


def _table(entry: Any) -> Mapping[str, Any]:
    if not isinstance(entry, Mapping):
        raise InputError(f"studies holds {shown(entry)}; expected tables, each headed [[studies]]")
    return entry


def _explain(error: ValidationError, values: Mapping[str, Any]) -> str:
    """All problems in one message: what came, what was expected."""
    where = f"study {shown(values['name'])}" if isinstance(values.get("name"), str) else "study"
    problems = error.errors(include_url=False, include_context=False)
    shown_ones = [_one_problem(problem) for problem in problems[: bounds.PROBLEMS_SHOWN]]
    more = len(problems) - len(shown_ones)
    return f"{where}: " + "; ".join([*shown_ones, *([f"and {more} more"] if more else [])])


def _one_problem(problem: Any) -> str:
    place = ".".join(str(part) for part in problem["loc"])[: 2 * bounds.LONGEST_NAME]
    if problem["type"] == "extra_forbidden":
        valid = StepSizes.model_fields if problem["loc"][0] == "step_sizes" else Study.model_fields
        return f"unknown key {shown(place)}: {closest(str(problem['loc'][-1]), valid)}"
    if problem["type"] == "missing":
        return f"the key {place!r} is missing"
    reason = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "option":
        return str(reason)
    if problem["type"] == "value_error":
        return f"{place}: {reason}" if place else reason
    return f"{place} = {shown(problem['input'])}: {reason[:1].lower()}{reason[1:]}"
