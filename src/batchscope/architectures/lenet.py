"""LeNet with 20 and 50 filters: two 5 x 5 convolutions, each followed by 2 x 2 max pooling, and a fully-connected part.

The standard one (L = 1 hidden layer of K = 500 units, 28 x 28 images of one channel, 10 classes) has 431 080
parameters, the 431k of the paper's Table 1. Its depth varies in the fully-connected part.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from batchscope.architectures.architecture import ACTIVATIONS, FAMILIES, Family, hidden_label
from batchscope.architectures.budget import count_parameters as count_fully_connected
from batchscope.architectures.budget import nearest_width
from batchscope.architectures.fully_connected import linear_parameters
from batchscope.architectures.parameter import Parameter
from batchscope.errors import InputError, choose

if TYPE_CHECKING:
    from torch import nn

    from batchscope.architectures.architecture import Architecture

FILTERS = (20, 50)
KERNEL = 5
SMALLEST_IMAGE = 16  # after two convolutions and two poolings one pixel is left


class LeNetFamily(Family):
    """The convolutions fixed, the fully-connected part varied; the budget counts every parameter."""

    standard = (1, 500)
    activations = ACTIVATIONS
    takes_images = True

    def check(self, net: Architecture) -> None:
        _check_image(net.input_shape)

    def parameters(self, net: Architecture) -> dict[str, Parameter]:
        channels, *image = net.input_shape
        first, second = FILTERS
        pixels = [math.prod(size) for size in _convolved(image)]
        sizes = (features(net.input_shape), *(net.width,) * net.depth, net.d_out)
        convolutions = {
            "conv1.weight": Parameter((first, channels, KERNEL, KERNEL), pixels[0]),
            "conv1.bias": Parameter((first,)),
            "conv2.weight": Parameter((second, first, KERNEL, KERNEL), pixels[1]),
            "conv2.bias": Parameter((second,)),
        }
        return convolutions | linear_parameters(sizes, bias=True, prefix="fc.")

    def solve_width(self, net: Architecture, budget: int) -> int:
        return nearest_width(budget, lambda width: count_parameters(net.depth, width, net.d_out, net.input_shape))

    def label(self, net: Architecture) -> str:
        return f"lenet {FILTERS[0]}-{FILTERS[1]}-{hidden_label(net.depth, net.width)}-{net.d_out} {net.activation}"

    def module(self, net: Architecture) -> nn.Module:
        return lenet(net.depth, net.width, net.d_out, net.input_shape, net.activation)


FAMILIES["lenet"] = LeNetFamily()


def count_parameters(
    depth: int = 1, width: int = 500, d_out: int = 10, input_shape: tuple[int, ...] = (1, 28, 28)
) -> int:
    """Return (25 c + 1) 20 + (25 * 20 + 1) 50 + f K + (L - 1) K² + K d_out + L K + d_out, f the features.

    >>> count_parameters()
    431080
    """
    first, second = FILTERS
    convolutions = (KERNEL**2 * input_shape[0] + 1) * first + (KERNEL**2 * first + 1) * second
    return convolutions + count_fully_connected(features(input_shape), d_out, depth, width)


def features(input_shape: tuple[int, ...]) -> int:
    """Return the numbers per example that reach the fully-connected part; 800 for 28 x 28 images."""
    _, last = _convolved(_check_image(input_shape)[1:])
    return FILTERS[1] * math.prod(size // 2 for size in last)


def lenet(
    depth: int = 1,
    width: int = 500,
    d_out: int = 10,
    input_shape: tuple[int, ...] = (1, 28, 28),
    activation: str = "relu",
) -> nn.Module:
    """Build LeNet 20-50 with `depth` hidden layers of `width` units in its fully-connected part.

    Args:
        d_out: classes. input_shape: (channels, height, width) of an image of at least 16 x 16.
        activation: after every layer but the last (Caffe's LeNet has it after the hidden layer only).

    Returns:
        A module from [N, *input_shape] to [N, d_out], initialised as PyTorch does.

    >>> sum(parameter.numel() for parameter in lenet().parameters())
    431080
    """
    from batchscope.architectures.modules import LeNet

    choose("activation", activation, ACTIVATIONS)
    return LeNet(input_shape[0], FILTERS, KERNEL, (features(input_shape), *(width,) * depth, d_out), activation)


def _convolved(image: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Height and width after each convolution; pooling halves, rounding down."""
    first = tuple(size - KERNEL + 1 for size in image)
    return first, tuple(size // 2 - KERNEL + 1 for size in first)


def _check_image(input_shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(input_shape) != 3 or min(input_shape[1:]) < SMALLEST_IMAGE:
        raise InputError(
            f"LeNet got examples of shape {tuple(input_shape)}; expected images (channels, height, width) of at least "
            f"{SMALLEST_IMAGE} x {SMALLEST_IMAGE}"
        )
    return input_shape
