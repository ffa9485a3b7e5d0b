"""The fully-connected family: L hidden layers of K units. Its closed forms are in budget.py."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, ClassVar

from batchscope.architectures.architecture import ACTIVATIONS, FAMILIES, Family, hidden_label
from batchscope.architectures.budget import solve_width
from batchscope.architectures.parameter import Parameter
from batchscope.errors import choose

if TYPE_CHECKING:
    from torch import nn

    from batchscope.architectures.architecture import Architecture


class FullyConnectedFamily(Family):
    """d_in-K-...-K-d_out. The budget counts weights, as in the paper: d_in K + (L - 1) K² + K d_out."""

    standard = (2, 19)  # 784-19x2-10 has 15 447 weights, near the paper's budget of 16k
    budget_counts = "weights"
    activations: ClassVar[tuple[str, ...]] = ACTIVATIONS
    stacked = True

    def parameters(self, net: Architecture) -> dict[str, Parameter]:
        return linear_parameters(net.layer_sizes, net.bias)

    def solve_width(self, net: Architecture, budget: int) -> int:
        return solve_width(budget, net.depth, net.d_in, net.d_out)

    def label(self, net: Architecture) -> str:
        return f"{net.d_in}-{hidden_label(net.depth, net.width)}-{net.d_out} {net.activation}"

    def module(self, net: Architecture) -> nn.Module:
        return fully_connected(net.d_in, net.d_out, net.depth, net.width, net.activation, net.bias)


FAMILIES["fully_connected"] = FullyConnectedFamily()


def linear_parameters(sizes: tuple[int, ...], bias: bool, prefix: str = "") -> dict[str, Parameter]:
    """The tensors of Linear, activation, ..., Linear between these sizes, named as in an nn.Sequential."""
    named: dict[str, Parameter] = {}
    for index, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        named[f"{prefix}{2 * index}.weight"] = Parameter((fan_out, fan_in))
        if bias:
            named[f"{prefix}{2 * index}.bias"] = Parameter((fan_out,))
    return named


def fully_connected(
    d_in: int, d_out: int, depth: int, width: int, activation: str = "relu", bias: bool = True
) -> nn.Module:
    """Build `depth` hidden layers of `width` units between d_in inputs and d_out outputs.

    Args:
        d_in, d_out: numbers per example going in and coming out.
        depth: hidden layers (L of the paper's experiments); width: units in each (K).
        activation: relu, tanh, softsign, arctan or linear, after every hidden layer.
        bias: whether layers add one.

    Returns:
        A module from [N, ...] with d_in numbers per example to [N, d_out], initialised as PyTorch does; see
        `build` for the paper's initialisations under a seed.

    >>> fully_connected(784, 10, depth=2, width=19)[0].weight.shape
    torch.Size([19, 784])
    """
    from batchscope.architectures.modules import FullyConnected, linear_layers

    choose("activation", activation, ACTIVATIONS)
    return FullyConnected(*linear_layers((d_in, *(width,) * depth, d_out), activation, bias))
