"""The families' networks as nn.Modules, and the layers they are made of."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# GroupNorm of Wu & He 2018: 32 groups; the largest divisor up to it where 32 does not divide the filters.
MAX_GROUPS = 32


class Arctan(nn.Module):
    """x -> arctan(x), elementwise."""

    def forward(self, x: Tensor) -> Tensor:
        """arctan(x), elementwise."""
        return torch.atan(x)


_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "softsign": nn.Softsign,
    "arctan": Arctan,
    "linear": nn.Identity,
}


def linear_layers(sizes: tuple[int, ...], activation: str, bias: bool = True) -> list[nn.Module]:
    """Linear, activation, ..., Linear between these sizes."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in itertools.pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out, bias=bias), _ACTIVATIONS[activation]()]
    return layers[:-1]


def activation(name: str) -> nn.Module:
    """The module of an activation of ACTIVATIONS."""
    return _ACTIVATIONS[name]()


class Skip(nn.Sequential):
    """x -> x + f(x), f being the layers in a row."""

    def forward(self, x: Tensor) -> Tensor:
        """x + f(x), [N, K]."""
        return x + super().forward(x)  # type: ignore[no-any-return, no-untyped-call]


class FullyConnected(nn.Sequential):
    """Linear, activation, ..., Linear; accepts examples of any shape [N, ...] and flattens them."""

    def forward(self, inputs: Tensor) -> Tensor:
        """[N, ...] -> [N, d_out]."""
        outputs = inputs.flatten(1)
        for layer in self:
            outputs = layer(outputs)
        return outputs


class LeNet(nn.Module):
    """Two convolutions with max pooling, then `fc`. sizes: features, hidden units, outputs."""

    def __init__(
        self, channels: int, filters: tuple[int, int], kernel: int, sizes: tuple[int, ...], activation: str
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, filters[0], kernel)
        self.conv2 = nn.Conv2d(filters[0], filters[1], kernel)
        self.activation = _ACTIVATIONS[activation]()
        self.fc = nn.Sequential(*linear_layers(sizes, activation))

    def forward(self, images: Tensor) -> Tensor:
        """[N, channels, height, width] -> [N, d_out]."""
        # Pooling first gives the same numbers, as activations grow with their argument, on a quarter of the pixels.
        hidden = self.activation(F.max_pool2d(self.conv1(images), 2))
        hidden = self.activation(F.max_pool2d(self.conv2(hidden), 2))
        return self.fc(hidden.flatten(1))  # type: ignore[no-any-return]


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut, which is 1 x 1 with stride where the shape changes."""

    def __init__(self, fan_in: int, fan_out: int, stride: int, norm: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(fan_in, fan_out, 3, stride, padding=1, bias=False)
        self.bn1 = _norm(norm, fan_out)
        self.conv2 = nn.Conv2d(fan_out, fan_out, 3, padding=1, bias=False)
        self.bn2 = _norm(norm, fan_out)
        self.downsample: nn.Module | None = None
        if stride > 1:
            self.downsample = nn.Sequential(nn.Conv2d(fan_in, fan_out, 1, stride, bias=False), _norm(norm, fan_out))

    def forward(self, x: Tensor) -> Tensor:
        """relu(f(x) + shortcut), [N, C, h, w] -> [N, C2, h / stride, w / stride]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(x)) + shortcut)


class ResNet(nn.Module):
    """Stem, chunks layer1, layer2, ... of basic blocks, mean over pixels, `fc`. Named as torchvision names them."""

    def __init__(self, channels: int, blocks: tuple[int, ...], filters: int, sizes: tuple[int, ...], norm: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, filters, 3, padding=1, bias=False)
        self.bn1 = _norm(norm, filters)
        self.chunks = [f"layer{number}" for number in range(1, len(blocks) + 1)]
        width = filters
        for number, (name, count) in enumerate(zip(self.chunks, blocks, strict=True)):
            stride, fan_out = (2, 2 * width) if number else (1, width)
            first = BasicBlock(width, fan_out, stride, norm)
            self.add_module(
                name, nn.Sequential(first, *(BasicBlock(fan_out, fan_out, 1, norm) for _ in range(count - 1)))
            )
            width = fan_out
        layers = linear_layers(sizes, "relu")
        self.fc = nn.Sequential(*layers) if len(layers) > 1 else layers[0]

    def forward(self, images: Tensor) -> Tensor:
        """[N, channels, height, width] -> [N, d_out]: the mean over pixels goes into the last layer."""
        hidden = F.relu(self.bn1(self.conv1(images)))
        for name in self.chunks:
            hidden = getattr(self, name)(hidden)
        return self.fc(hidden.mean((2, 3)))  # type: ignore[no-any-return]


def _norm(name: str, filters: int) -> nn.Module:
    return nn.BatchNorm2d(filters) if name == "batch_norm" else nn.GroupNorm(num_groups(filters), filters)


def num_groups(filters: int) -> int:
    """Return the largest divisor of `filters` that is at most 32.

    >>> [num_groups(filters) for filters in (64, 51, 97)]
    [32, 17, 1]
    """
    return max(groups for groups in range(1, MAX_GROUPS + 1) if filters % groups == 0)
