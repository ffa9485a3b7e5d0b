"""What every family of networks says about itself, in numbers; torch is needed only to build one."""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from torch import nn

    from batchscope.architectures.architecture import Architecture


@dataclass(frozen=True)
class Parameter:
    """One trained tensor. shape: as in the module. positions: places per example where a weight is applied.

    A weight of a linear layer is applied once per example, that of a convolution once per output pixel.
    """

    shape: tuple[int, ...]
    positions: int = 1

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def is_weight(self) -> bool:
        """Whether it multiplies activations: biases and the gains of normalisation layers have one dimension."""
        return len(self.shape) > 1


class Family(abc.ABC):
    """A way to draw a network of any (depth, width); stateless, one instance per name in FAMILIES.

    standard: (depth, width) of the network the family is named after.
    depth_means, width_means: what the two numbers count, for tables.
    budget_counts: "weights" (the paper's fully-connected nets) or "parameters" (its convolutional ones: 431 080 is
        LeNet with its biases).
    """

    standard: ClassVar[tuple[int, int]]
    depth_means: ClassVar[str] = "hidden layers"
    width_means: ClassVar[str] = "units"
    budget_counts: ClassVar[str] = "parameters"
    norms: ClassVar[tuple[str, ...]] = ("",)
    default_filters: ClassVar[int] = 0

    @abc.abstractmethod
    def check(self, net: Architecture) -> None:
        """Raise InputError for a network that cannot exist."""

    @abc.abstractmethod
    def parameters(self, net: Architecture) -> dict[str, Parameter]:
        """Every trained tensor, in the order and with the names of the module."""

    @abc.abstractmethod
    def solve_width(self, net: Architecture, budget: int) -> int:
        """The width that brings `net`, whose own width is ignored, nearest to the budget."""

    @abc.abstractmethod
    def label(self, net: Architecture) -> str:
        """A short name, unique within a study."""

    @abc.abstractmethod
    def module(self, net: Architecture) -> nn.Module:
        """Build it, with PyTorch's own initial weights."""


def hidden_label(depth: int, width: int) -> str:
    """``17x10`` for ten hidden layers of 17 units, ``17`` for one."""
    return f"{width}" if depth == 1 else f"{width}x{depth}"
