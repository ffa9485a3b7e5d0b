"""What the keys of a study file may be, by type. No torch."""

from __future__ import annotations

import math
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    model_validator,
)

from batchscope.architectures.architecture import DEEPEST, WIDEST
from batchscope.architectures.budget import LARGEST_BUDGET
from batchscope.errors import shown
from batchscope.studies import bounds

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
Switch = Annotated[bool, Field(strict=True)]
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
