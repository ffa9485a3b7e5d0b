"""`Architecture`: the currency of this room. What a network is, in numbers; torch is needed only to build it."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from batchscope.architectures.budget import count_parameters, count_weights, solve_width
from batchscope.errors import InputError, choose

FAMILIES = ("fully_connected",)
ACTIVATIONS = ("relu", "tanh", "softsign", "arctan", "linear")


@dataclass(frozen=True)
class Architecture:
    """A network of a family, at one depth and width.

    family: name in FAMILIES. input_shape: shape of one example, such as (784,) or (1, 28, 28).
    d_out: outputs. depth: hidden layers L, each of `width` units K (so L + 1 weight matrices).
    activation: name in ACTIVATIONS. bias: whether every layer adds one (Keras' default, and ours).

    >>> print(Architecture("fully_connected", (1, 28, 28), 10, depth=10, width=17))
    784-17x10-10 relu (16 099 weights)
    """

    family: str
    input_shape: tuple[int, ...]
    d_out: int
    depth: int
    width: int
    activation: str = "relu"
    bias: bool = True

    def __post_init__(self) -> None:
        choose("family", self.family, FAMILIES)
        choose("activation", self.activation, ACTIVATIONS)
        for name, number in (("d_in", self.d_in), ("d_out", self.d_out), ("depth", self.depth), ("width", self.width)):
            if number < 1:
                raise InputError(f"{name} = {number} in an architecture; expected at least 1")

    @classmethod
    def within_budget(
        cls, family: str, input_shape: tuple[int, ...], d_out: int, depth: int, budget: int, activation: str = "relu"
    ) -> Architecture:
        """The network of this depth whose weight count is nearest to `budget`."""
        width = solve_width(budget, depth, math.prod(input_shape), d_out)
        return cls(family, input_shape, d_out, depth, width, activation)

    @property
    def d_in(self) -> int:
        """Numbers in one example."""
        return math.prod(self.input_shape)

    @property
    def num_weights(self) -> int:
        """Weights without biases: what the paper's budget counts."""
        return count_weights(self.d_in, self.d_out, self.depth, self.width)

    @property
    def num_parameters(self) -> int:
        """Everything that is trained."""
        return count_parameters(self.d_in, self.d_out, self.depth, self.width) if self.bias else self.num_weights

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        """(d_in, K, ..., K, d_out): the widths between the weight matrices, as theory/ takes them."""
        return (self.d_in, *(self.width,) * self.depth, self.d_out)

    @property
    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape of every parameter, in the order and with the names of the built module."""
        shapes: dict[str, tuple[int, ...]] = {}
        for index, (fan_in, fan_out) in enumerate(itertools.pairwise(self.layer_sizes)):
            shapes[f"{2 * index}.weight"] = (fan_out, fan_in)
            if self.bias:
                shapes[f"{2 * index}.bias"] = (fan_out,)
        return shapes

    @property
    def label(self) -> str:
        """A short name, unique within a study: ``784-17x10-10 relu``."""
        hidden = f"{self.width}" if self.depth == 1 else f"{self.width}x{self.depth}"
        return f"{self.d_in}-{hidden}-{self.d_out} {self.activation}"

    def __str__(self) -> str:
        return f"{self.label} ({self.num_weights:,} weights)".replace(",", " ")
