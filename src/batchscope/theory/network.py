"""A deep linear network as the closed forms see it: widths, Gaussian scales, a teacher. All inputs are checked here."""

from __future__ import annotations

import itertools
import math
import numbers
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from batchscope.errors import InputError, choose

Number = int | Fraction | float
Scale = Number | str | Sequence[Number]

# Variance of one weight from (fan_in, fan_out); exact, so that integer widths give exact moments.
# "glorot" is the Gaussian one: the uniform one has another fourth moment, on which the formulas depend.
INITIALISATIONS: dict[str, Callable[[int, int], Number]] = {
    "standard_normal": lambda fan_in, fan_out: 1,
    "fan_in": lambda fan_in, fan_out: Fraction(1, fan_in),
    "he": lambda fan_in, fan_out: Fraction(2, fan_in),
    "glorot": lambda fan_in, fan_out: Fraction(2, fan_in + fan_out),
}


@dataclass(frozen=True)
class LinearNetwork:
    """Student x -> W_L ... W_1 x and an independent teacher of the same widths, all entries Gaussian with mean zero.

    widths: (K_0 = d, K_1, ..., K_L = d_out); L weight matrices, hence L - 1 hidden layers.
    variances: s_l², the variance of one entry of W_l, l = 1..L.
    teacher_variances: the same for the teacher's matrices.
    bias: whether biases, initialised at zero, are trained too (their gradients count).
    noise_variance: variance of the Gaussian noise on each target.
    """

    widths: tuple[int, ...]
    variances: tuple[Number, ...]
    teacher_variances: tuple[Number, ...]
    bias: bool = False
    noise_variance: Number = 0

    @classmethod
    def of(
        cls,
        widths: Sequence[int],
        weight_std: Scale = 1,
        teacher_std: Scale | None = None,
        bias: bool = False,
        label_noise: Number = 0,
        d: int | None = None,
    ) -> LinearNetwork:
        """Check and resolve what a user types; see `chen2018.expected_moments` for the arguments."""
        sizes = check_widths(widths, d)
        variances = layer_variances(sizes, weight_std)
        teacher = variances if teacher_std is None else layer_variances(sizes, teacher_std, "teacher_std")
        noise = check_number("label_noise", label_noise, positive=False)
        return cls(sizes, variances, teacher, bool(bias), noise * noise)

    @property
    def teacher_variance(self) -> Number:
        """T, the variance of one entry of W* = W*_L ... W*_1: the product of hidden widths and layer variances."""
        return math.prod(self.widths[1:-1]) * math.prod(self.teacher_variances)


def check_widths(widths: Sequence[int], d: int | None = None) -> tuple[int, ...]:
    """Return the widths as Python ints; InputError for fewer than two, one below 1, or K_0 other than `d`."""
    if isinstance(widths, str) or not hasattr(widths, "__iter__"):
        raise InputError(f"widths must be a sequence such as (784, 20, 1), got {widths!r}")
    sizes = tuple(widths)
    if not all(type(width) is int and width >= 1 for width in sizes):
        sizes = tuple(check_count(f"widths[{place}]", width) for place, width in enumerate(sizes))
    if len(sizes) < 2:
        raise InputError(f"widths {sizes} has {len(sizes)} entries: give (d, hidden widths ..., d_out), at least two")
    if d is not None and sizes[0] != check_count("d", d):
        raise InputError(f"widths start with K_0 = {sizes[0]}, but d = {d}: K_0 is the input dimension, put d first")
    return sizes


def check_count(name: str, value: Any, minimum: int = 1) -> int:
    """Return a whole number >= minimum as int; InputError otherwise."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    try:
        count = operator.index(value)
    except TypeError:
        raise InputError(f"{name} must be a whole number >= {minimum}, got {value!r}") from None
    if count < minimum:
        raise InputError(f"{name} must be >= {minimum}, got {count}")
    return count


def check_num_examples(num_examples: Any) -> int | float:
    """Return n as int, or math.inf for the limit of many examples; InputError for anything else."""
    return math.inf if num_examples == math.inf else check_count("num_examples", num_examples)


def check_number(name: str, value: Any, positive: bool = True) -> Number:
    """Return a finite real number, exact (int or Fraction) where it is one; InputError if not > 0 (or >= 0)."""
    if not isinstance(value, numbers.Real) or not math.isfinite(value) or value < 0 or (positive and value == 0):
        raise InputError(f"{name} must be a finite number {'> 0' if positive else '>= 0'}, got {value!r}")
    if isinstance(value, numbers.Rational):
        return Fraction(value) if value.denominator != 1 else int(value.numerator)
    number = float(value)
    return int(number) if number.is_integer() else number


def layer_variances(widths: Sequence[int], std: Scale, name: str = "weight_std") -> tuple[Number, ...]:
    """Return s_l² for l = 1..L from one standard deviation, one per layer, or the name of an initialisation."""
    fans = list(itertools.pairwise(widths))
    if isinstance(std, str):
        if std in ("glorot_uniform", "xavier_uniform"):
            raise InputError(f"{name} {std!r} is not Gaussian and the formulas need its fourth moment: use 'glorot'")
        variance = INITIALISATIONS[choose(name, std, INITIALISATIONS)]
        of_shape = {fans_of_layer: variance(*fans_of_layer) for fans_of_layer in set(fans)}
        return tuple(of_shape[fans_of_layer] for fans_of_layer in fans)
    if isinstance(std, numbers.Real | int | float):
        return (_square(name, std),) * len(fans)
    stds = list(std)
    if len(stds) != len(fans):
        raise InputError(
            f"{name} has {len(stds)} entries for {len(fans)} weight matrices (widths {tuple(widths)}): give one "
            f"number, one per matrix, or one of {', '.join(map(repr, INITIALISATIONS))}"
        )
    return tuple(_square(f"{name}[{layer}]", value) for layer, value in enumerate(stds))


def _square(name: str, std: Any) -> Number:
    number = check_number(name, std)
    return number * number
