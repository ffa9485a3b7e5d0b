"""`Architecture`: the currency of this room. What a network is, in numbers; torch is needed only to build it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from batchscope.architectures.family import Family, Parameter
from batchscope.architectures.fully_connected import ACTIVATIONS, FullyConnectedFamily
from batchscope.architectures.lenet import LeNetFamily
from batchscope.architectures.resnet import NORMS, ResNetBlocks, ResNetHead
from batchscope.errors import InputError, choose

__all__ = ["ACTIVATIONS", "FAMILIES", "NORMS", "Architecture"]

FAMILIES: dict[str, Family] = {
    "fully_connected": FullyConnectedFamily(),
    "lenet": LeNetFamily(),
    "resnet18_head": ResNetHead("resnet18"),
    "resnet18_blocks": ResNetBlocks("resnet18"),
    "resnet34_blocks": ResNetBlocks("resnet34"),
}


@dataclass(frozen=True)
class Architecture:
    """A network of a family, at one depth and width.

    family: name in FAMILIES. input_shape: shape of one example, such as (784,) or (1, 28, 28).
    d_out: outputs. depth: hidden layers L, each of `width` units K (so L + 1 weight matrices); for the families
        ``*_blocks`` residual blocks in the first chunk, and filters of the first chunk.
    activation: name in ACTIVATIONS. bias: whether every layer adds one (Keras' default, and ours).
    norm: "batch_norm" or "group_norm" in residual nets, empty elsewhere; left empty there it is batch_norm.
    filters: of the first chunk of ``resnet18_head``, 64 unless given; 0 elsewhere.

    >>> print(Architecture("fully_connected", (1, 28, 28), 10, depth=10, width=17))
    784-17x10-10 relu (16 099 weights)
    >>> print(Architecture("lenet", (1, 28, 28), 10, depth=1, width=500))
    lenet 20-50-500-10 relu (431 080 parameters)
    """

    family: str
    input_shape: tuple[int, ...]
    d_out: int
    depth: int
    width: int
    activation: str = "relu"
    bias: bool = True
    norm: str = ""
    filters: int = 0

    def __post_init__(self) -> None:
        kind = FAMILIES[choose("family", self.family, FAMILIES)]
        for name, number in (("d_in", self.d_in), ("d_out", self.d_out), ("depth", self.depth), ("width", self.width)):
            if number < 1:
                raise InputError(f"{name} = {number} in an architecture; expected at least 1")
        object.__setattr__(self, "norm", self.norm or kind.norms[0])
        object.__setattr__(self, "filters", self.filters or kind.default_filters)
        if self.norm not in kind.norms:
            raise InputError(f"norm {self.norm!r} in family {self.family!r}; expected {_or_nothing(kind.norms)}")
        if self.filters and not kind.default_filters:
            raise InputError(
                f"filters = {self.filters} in family {self.family!r}, which has none to choose: leave it out"
            )
        kind.check(self)

    @classmethod
    def within_budget(
        cls,
        family: str,
        input_shape: tuple[int, ...],
        d_out: int,
        depth: int,
        budget: int,
        activation: str = "relu",
        norm: str = "",
        filters: int = 0,
    ) -> Architecture:
        """The network of this depth nearest to `budget`: weights if fully connected, all parameters otherwise."""
        draft = cls(family, input_shape, d_out, depth, 1, activation, norm=norm, filters=filters)
        return replace(draft, width=FAMILIES[family].solve_width(draft, budget))

    @property
    def d_in(self) -> int:
        """Numbers in one example."""
        return math.prod(self.input_shape)

    @property
    def num_weights(self) -> int:
        """Weights without biases and gains: what the paper's budget of fully-connected nets counts."""
        return sum(parameter.size for parameter in self._parameters.values() if parameter.is_weight)

    @property
    def num_parameters(self) -> int:
        """Everything that is trained."""
        return sum(parameter.size for parameter in self._parameters.values())

    @property
    def multiply_adds(self) -> int:
        """Multiplications by a weight in the forward pass of one example."""
        return sum(p.size * p.positions for p in self._parameters.values() if p.is_weight)

    @property
    def num_layers(self) -> int:
        """Layers with weights."""
        return sum(parameter.is_weight for parameter in self._parameters.values())

    @property
    def num_units(self) -> int:
        """Activations of one example, over all layers."""
        return sum(p.shape[0] * p.positions for p in self._parameters.values() if p.is_weight)

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        """(d_in, K, ..., K, d_out) of a fully-connected net: the widths between the weights, as theory/ takes them."""
        return (self.d_in, *(self.width,) * self.depth, self.d_out)

    @property
    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape of every parameter, in the order and with the names of the built module."""
        return {name: parameter.shape for name, parameter in self._parameters.items()}

    @property
    def _parameters(self) -> dict[str, Parameter]:
        return FAMILIES[self.family].parameters(self)

    @property
    def label(self) -> str:
        """A short name, unique within a study: ``784-17x10-10 relu``."""
        return FAMILIES[self.family].label(self)

    def __str__(self) -> str:
        counts = FAMILIES[self.family].budget_counts
        number = self.num_weights if counts == "weights" else self.num_parameters
        return f"{self.label} ({number:,} {counts})".replace(",", " ")


def _or_nothing(norms: tuple[str, ...]) -> str:
    return "none" if norms == ("",) else " or ".join(norms)
