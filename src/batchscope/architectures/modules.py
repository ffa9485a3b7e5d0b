"""The families as nn.Modules, and `build`: from an `Architecture` to an initialised network."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from batchscope.architectures.architecture import Architecture
from batchscope.architectures.initialisation import initial_values
from batchscope.errors import choose


class Arctan(nn.Module):
    """x -> arctan(x), elementwise."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.atan(x)


_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "softsign": nn.Softsign,
    "arctan": Arctan,
    "linear": nn.Identity,
}


class FullyConnected(nn.Sequential):
    """Linear, activation, ..., Linear; accepts examples of any shape [N, ...] and flattens them."""

    def forward(self, inputs: Tensor) -> Tensor:
        outputs = inputs.flatten(1)
        for layer in self:
            outputs = layer(outputs)
        return outputs


def fully_connected(
    d_in: int, d_out: int, depth: int, width: int, activation: str = "relu", bias: bool = True
) -> FullyConnected:
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
    choose("activation", activation, _ACTIVATIONS)
    sizes = (d_in, *(width,) * depth, d_out)
    layers: list[nn.Module] = []
    for fan_in, fan_out in itertools.pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out, bias=bias), _ACTIVATIONS[activation]()]
    return FullyConnected(*layers[:-1])


def build(
    architecture: Architecture,
    initialisation: str = "glorot_uniform",
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> nn.Module:
    """Return the network on the CPU with the initial weights that (initialisation, seed) determine.

    The same arguments give the same weights as a cohort's member with that seed starts from.
    """
    a = architecture
    module = fully_connected(a.d_in, a.d_out, a.depth, a.width, a.activation, a.bias).to(dtype)
    values = initial_values(a.parameter_shapes, initialisation, seed)
    module.load_state_dict({name: torch.from_numpy(value).to(dtype) for name, value in values.items()})
    return module
