"""`Study`: what shall be trained, validated word by word; a study file is its fields in TOML. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import tomli_w
from pydantic import BaseModel, InstanceOf, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from batchscope.architectures.architecture import FAMILIES, Family, check_choice, family_named
from batchscope.architectures.initialisation import AS_MADE
from batchscope.errors import InputError, choose, closest, shown
from batchscope.option import options_of
from batchscope.options import OPTIONS, OWN_LOSSES, OWN_METRICS, ArchitectureOptions, TrainingOptions
from batchscope.own_code import source_of
from batchscope.records.row import ACCURACIES, METRICS, Target
from batchscope.records.row import OWN_METRICS as TARGETS_OF_OWN_METRICS
from batchscope.studies.combinations import check_protocol, check_race, check_schedule, check_size
from batchscope.studies.key_types import (
    BatchSizes,
    Budget,
    DataOption,
    Depths,
    Examples,
    LongName,
    Name,
    Seed,
    Seeds,
    Shapes,
    Step,
    StepSizes,
    Switch,
    Texts,
    says,
)
from batchscope.studies.problems import explained
from batchscope.studies.study_file import tables_in
from batchscope.training import settings  # noqa: F401  offers the names that training options take

PROTOCOLS = ("paper2018", "tuned", "fixed")
# Key of study files -> the scheme of `batchscope.data.load`.
INPUTS = {"standardised": None, "unit": "none", "raw": "raw", "tokens": "tokens"}


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
    race: Annotated[
        Switch,
        says(
            "true or false",
            "with protocol tuned: the tuning runs of a cell end when the first of them meets the target; the choice is "
            "the same",
        ),
    ] = False
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
            raise InputError(explained(error, values, type(self).model_fields)) from None

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
        values["race"] = self.race or None
        values["inputs"] = None if self.inputs == "standardised" else self.inputs
        return {key: value for key, value in values.items() if value not in (None, (), {}, "")}

    def has(self, option: str) -> bool:
        """Whether there is a choice of this option for the study's networks, trained as they are."""
        names = self._kind.choices.get(option)
        if names is not None:
            return len(names) > 1
        return OPTIONS[option].applies(self._traits, self.optimizer)

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
        depths = [depth for depth, _ in self.shapes] if self.shapes is not None else self.depths or ()
        check_size(depths, len(self.batch_sizes))
        check_protocol(self.protocol, self.optimizer, self.sum_step_size, "step_sizes" in self.model_fields_set)
        check_race(self.race, self.protocol)
        check_schedule(self)
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

    Several studies are an array of tables ``[[studies]]``. Raises InputError for what cannot be read or is no study.
    """
    return as_studies([Study.from_dict(values) for values in tables_in(source)])


def to_toml(*studies: Study) -> str:
    """Return the text of a study file that `read_studies` reads back as the same studies."""
    if len(studies) == 1:
        return tomli_w.dumps(studies[0].to_dict())
    return tomli_w.dumps({"studies": [study.to_dict() for study in studies]})
