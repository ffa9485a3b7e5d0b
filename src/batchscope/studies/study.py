"""`Study`: what shall be trained, validated word by word. A study file is these fields in TOML; no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, InstanceOf, ValidationError, field_validator, model_validator

from batchscope.architectures.architecture import NORMS, Family, family_named
from batchscope.architectures.initialisation import INITIALISATIONS
from batchscope.errors import InputError, choose, closest
from batchscope.records.row import Target
from batchscope.training.settings import AUGMENTATIONS, DTYPES, OPTIMIZERS, SAMPLINGS

PROTOCOLS = ("paper2018", "tuned")
METRICS = ("train_accuracy", "train_loss")
MAX_STEP_SIZES = 100

Count = Annotated[int, Field(strict=True, ge=1)]
Whole = Annotated[int, Field(strict=True, ge=0)]
Positive = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
Name = Annotated[str, Field(strict=True, min_length=1)]
Option = bool | int | float | str | tuple[int, ...]

_CHOICES = {
    "protocol": PROTOCOLS,
    "optimizer": OPTIMIZERS,
    "initialisation": INITIALISATIONS,
    "sampling": SAMPLINGS,
    "dtype": DTYPES,
    "augmentation": AUGMENTATIONS,
}


class StepSizes(BaseModel):
    """The geometric grid min, min*ratio, ..., up to max, continued on both sides by the same ratio when widened."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min: Positive
    max: Positive
    ratio: Annotated[float, Field(strict=True, gt=1, allow_inf_nan=False)] = 2.0

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
        return tuple(self.at(index) for index in range(self.size))

    def __contains__(self, step_size: float) -> bool:
        return step_size in self.values


class Study(BaseModel):
    """One data set, some shapes at equal parameters, some batch sizes, one target: what `run` finishes.

    name: how tables and directories call it. dataset: a name `batchscope.data.load` knows, or a .npz path;
    num_examples: a seeded subset (None = all); dataset_options: further arguments of `load`, such as
    {d_in: 100} for "synthetic".
    Either budget with depths, or shapes = [[depth, width], ...]. Fully-connected nets: a budget of weights, depths in
    hidden layers. lenet, resnet18_head: a budget of parameters, hidden layers of the fully-connected part.
    resnet18_blocks, resnet34_blocks: a budget of parameters, residual blocks in the first chunk. A family of your own:
    "package.module:Name", a subclass of `batchscope.architectures.Family` that every process can import.
    activation: one of the family's, its first if left out.
    norm: "batch_norm" or "group_norm" of residual nets; filters: of the first chunk of resnet18_head (None = 64).
    target: {train_accuracy: fraction} or {train_loss: value}; max_epochs: passes before a run is CENSORED.
    step_sizes: the grid tuned over, for the mean loss. seed: tuning runs use it, the reported runs seed+1, seed+2, ...
    diversity_every: epochs between measurements of gradient diversity; 0 = never.
    dtype: "bfloat16" is autocast, for convolutional families. augmentation: "pad_crop_flip" for images.
    batchnorm_shares: parts of a batch over which BatchNorm takes its statistics; 1 = the whole batch.
    assumptions: every value that is ours rather than the paper's; scaled: how the study is smaller than what it
    stands for. Outputs repeat both.

    Raises InputError for unknown keys (naming the closest), impossible values and impossible combinations.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    dataset: Name
    num_examples: Count | None = None
    dataset_options: dict[str, Option] = {}
    family: Name = "fully_connected"
    activation: str = ""
    norm: str = ""
    filters: Count | None = None
    budget: Count | None = None
    depths: tuple[Count, ...] | None = None
    shapes: tuple[tuple[Count, Count], ...] | None = None
    batch_sizes: tuple[Count, ...]
    target: InstanceOf[Target]
    max_epochs: Count = 100
    evaluations_per_epoch: Count = 1
    num_seeds: Count = 5
    protocol: Literal["paper2018", "tuned"] = "paper2018"
    step_sizes: StepSizes = StepSizes(min=0.01, max=2.56, ratio=2.0)
    optimizer: Name = "sgd"
    momentum: Annotated[float, Field(strict=True, ge=0, lt=1, allow_inf_nan=False)] = 0.0
    initialisation: Name = "glorot_uniform"
    sampling: Name = "permutation"
    dtype: Name = "float32"
    seed: Whole = 0
    diversity_every: Whole = 0
    augmentation: Name = "none"
    batchnorm_shares: Count = 1
    assumptions: tuple[str, ...] = ()
    scaled: str = ""

    def __init__(self, **values: Any) -> None:
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
        """Read a study from a TOML file (a path) or from TOML text (a string with a line break or an equals sign)."""
        from batchscope.studies.study_file import read_studies

        studies = read_studies(source)
        if len(studies) != 1:
            raise InputError(f"{len(studies)} studies where one is expected; use batchscope.studies.read_studies")
        return studies[0]

    def to_toml(self) -> str:
        """Return the study as the text of a study file; `from_toml` gives the same study back."""
        from batchscope.studies.study_file import to_toml

        return to_toml(self)

    def to_dict(self) -> dict[str, Any]:
        """Return the keys of a study file with plain values, leaving out what is None or empty."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        values["target"] = {self.target.metric: self.target.value}
        values["step_sizes"] = self.step_sizes.model_dump()
        if len(self._kind.activations) == 1:
            del values["activation"]  # there is no choice
        return {key: value for key, value in values.items() if value not in (None, (), {}, "")}

    @field_validator("dataset_options")
    @classmethod
    def _no_key_of_the_study(cls, options: dict[str, Option]) -> dict[str, Option]:
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
            raise ValueError("expected { train_accuracy = fraction } or { train_loss = value }")
        metric, number = next(iter(value.items()))
        if metric not in METRICS:
            raise ValueError(f"unknown metric {metric!r}: {closest(str(metric), METRICS)}")
        if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number < math.inf:
            raise ValueError(f"{metric} = {number!r}; expected a positive number")
        if metric == "train_accuracy" and number > 1:
            raise ValueError(f"train_accuracy = {number:g}; expected a fraction in (0, 1], such as 0.96 for 96 %")
        return Target(metric, float(number))

    @field_validator("family")
    @classmethod
    def _known_family(cls, value: str) -> str:
        family_named(value)
        return value

    @field_validator("optimizer", "initialisation", "sampling", "dtype", "augmentation")
    @classmethod
    def _known(cls, value: str, info: Any) -> str:
        return choose(info.field_name, value, _CHOICES[info.field_name])

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
            raise ValueError(f"an entry is repeated in {list(values)}; expected distinct entries")
        return tuple(sorted(values))

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        by_budget = (self.budget is not None) + (self.depths is not None)
        if (by_budget, self.shapes is not None) not in ((2, False), (0, True)):
            given = [key for key in ("budget", "depths", "shapes") if getattr(self, key) is not None]
            raise ValueError(f"got {given or 'none of budget, depths, shapes'}; expected budget with depths, or shapes")
        object.__setattr__(self, "activation", self.activation or self._kind.activations[0])
        self._check_family()
        if self.optimizer != "sgd" and self.momentum:
            raise ValueError(
                f"momentum = {self.momentum:g} has no meaning for optimizer {self.optimizer!r}; leave it out"
            )
        return self

    @property
    def _kind(self) -> Family:
        return family_named(self.family)

    def _check_family(self) -> None:
        """Keys that have a meaning for some families only."""
        kind = self._kind
        if self.activation not in kind.activations:
            if len(kind.activations) == 1:
                raise ValueError(
                    f"activation = {self.activation!r} for family {self.family!r}, which has no choice of activations; "
                    "leave it out"
                )
            choose("activation", self.activation, kind.activations)
        if self.norm and self.norm not in kind.norms:
            expected = " or ".join(NORMS) if kind.norms == NORMS else "the key left out: it is for residual nets"
            raise ValueError(f"norm = {self.norm!r} for family {self.family!r}; expected {expected}")
        if self.filters and not kind.default_filters:
            raise ValueError(f"filters = {self.filters} has no meaning for family {self.family!r}; leave it out")
        if not kind.takes_images:
            for key, value in (("dtype", "bfloat16"), ("augmentation", "pad_crop_flip")):
                if getattr(self, key) == value:
                    raise ValueError(f"{key} = {value!r} is for families of images, not {self.family!r}")
        if self.batchnorm_shares > 1 and (self.norm or kind.norms[0]) != "batch_norm":
            raise ValueError(f"batchnorm_shares = {self.batchnorm_shares} in nets without BatchNorm; leave it out")


def _explain(error: ValidationError, values: Mapping[str, Any]) -> str:
    """All problems in one message: what came, what was expected."""
    where = f"study {values['name']!r}" if isinstance(values.get("name"), str) else "study"
    return f"{where}: " + "; ".join(_one_problem(problem) for problem in error.errors())


def _one_problem(problem: Any) -> str:
    place = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        valid = StepSizes.model_fields if problem["loc"][0] == "step_sizes" else Study.model_fields
        return f"unknown key {place!r}: {closest(str(problem['loc'][-1]), valid)}"
    if problem["type"] == "missing":
        return f"the key {place!r} is missing"
    reason = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "value_error":
        return f"{place}: {reason}" if place else reason
    return f"{place} = {problem['input']!r}: {reason[:1].lower()}{reason[1:]}"
