"""Residual networks for 32 x 32 images: ResNet-18 and -34 with the CIFAR stem, varied in two ways at equal parameters.

    <net>_head     the blocks fixed, hidden layers put between them and the outputs
    <net>_blocks   one block more or less in each chunk, the base number of filters F solved for the budget

CIFAR stem: a 3 x 3 convolution of stride 1 and no pooling. Chunks have F, 2F, 4F, 8F filters; a block is two 3 x 3
convolutions, each with a normalisation, and a shortcut (He et al. 2016, option B). Parameters have the names and
shapes of torchvision's resnet18 and resnet34.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from batchscope.architectures.architecture import FAMILIES, NORMS, Family, hidden_label
from batchscope.architectures.budget import count_parameters as count_fully_connected
from batchscope.architectures.budget import nearest_width
from batchscope.architectures.fully_connected import linear_parameters
from batchscope.architectures.parameter import Parameter
from batchscope.errors import InputError, choose

if TYPE_CHECKING:
    from torch import nn

    from batchscope.architectures.architecture import Architecture

BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3)}
FILTERS = 64
# Halved three times, more than one pixel is left: normalising one number leaves nothing of it.
SMALLEST_IMAGE = 9


class ResNetBlocks(Family):
    """Depth: blocks in the first chunk, the others keeping the standard net's difference to it. Width: F."""

    depth_means, width_means = "blocks in the first chunk", "filters of the first chunk"
    norms = NORMS
    takes_images = True

    def __init__(self, name: str) -> None:
        self.name, self.blocks = name, BLOCKS[name]
        self.standard = (self.blocks[0], FILTERS)  # type: ignore[misc]

    def check(self, net: Architecture) -> None:
        _check(net)

    def chunks(self, net: Architecture) -> tuple[int, ...]:
        """Blocks in each chunk."""
        return tuple(count + net.depth - self.blocks[0] for count in self.blocks)

    def parameters(self, net: Architecture) -> dict[str, Parameter]:
        return body_parameters(self.chunks(net), net.width, net.input_shape) | _named_fc((8 * net.width, net.d_out))

    def solve_width(self, net: Architecture, budget: int) -> int:
        blocks, channels = self.chunks(net), net.input_shape[0]
        return nearest_width(budget, lambda filters: count_parameters(blocks, filters, net.d_out, channels))

    def label(self, net: Architecture) -> str:
        return f"{self.name} {'-'.join(map(str, self.chunks(net)))} of {net.width} filters{_norm_label(net)}"

    def module(self, net: Architecture) -> nn.Module:
        return resnet(self.chunks(net), net.width, net.d_out, norm=net.norm, channels=net.input_shape[0])


class ResNetHead(Family):
    """Depth: hidden layers between the pooled features and the outputs. Width: units in each."""

    norms = NORMS
    takes_images = True
    default_filters = FILTERS

    def __init__(self, name: str) -> None:
        self.name, self.blocks = name, BLOCKS[name]
        self.standard = (1, 251)  # type: ignore[misc] # ResNet-18's: 11.3 million parameters, 1 % above the standard

    def check(self, net: Architecture) -> None:
        _check(net)

    def head_sizes(self, net: Architecture) -> tuple[int, ...]:
        """(8 F, K, ..., K, d_out)."""
        return (8 * net.filters, *(net.width,) * net.depth, net.d_out)

    def parameters(self, net: Architecture) -> dict[str, Parameter]:
        return body_parameters(self.blocks, net.filters, net.input_shape) | _named_fc(self.head_sizes(net))

    def solve_width(self, net: Architecture, budget: int) -> int:
        f, channels = net.filters, net.input_shape[0]
        body = count_parameters(self.blocks, f, net.d_out, channels) - (8 * f + 1) * net.d_out
        if budget <= body:
            raise InputError(
                f"a budget of {budget} parameters leaves nothing for the fully-connected part of {self.name}: its "
                f"convolutions of {f} filters take {body}; raise the budget or lower `filters`"
            )
        return nearest_width(budget - body, lambda width: count_fully_connected(8 * f, net.d_out, net.depth, width))

    def label(self, net: Architecture) -> str:
        filters = "" if net.filters == FILTERS else f" of {net.filters} filters"
        head = f"{8 * net.filters}-{hidden_label(net.depth, net.width)}-{net.d_out}"
        return f"{self.name}{filters} {head}{_norm_label(net)}"

    def module(self, net: Architecture) -> nn.Module:
        head = (net.width,) * net.depth
        return resnet(self.blocks, net.filters, net.d_out, head=head, norm=net.norm, channels=net.input_shape[0])


FAMILIES["resnet18_head"] = ResNetHead("resnet18")
FAMILIES["resnet18_blocks"] = ResNetBlocks("resnet18")
FAMILIES["resnet34_blocks"] = ResNetBlocks("resnet34")


def count_parameters(blocks: Sequence[int], filters: int, d_out: int = 10, channels: int = 3) -> int:
    """Return the parameters of a residual net in closed form: s_i blocks of F_i = 2^(i-1) F filters in chunk i.

    9 c F + 2 F for the stem; for every block 2 · 9 F_i² + 4 F_i, where the first block of chunk i > 1 has
    27/2 F_i² + 4 F_i and a shortcut of F_i²/2 + 2 F_i instead; (F_last + 1) d_out for the outputs.

    >>> [count_parameters(blocks, 64) for blocks in BLOCKS.values()]
    [11173962, 21282122]
    """
    features: int = filters * 2 ** (len(blocks) - 1)
    total = (9 * channels + 2) * filters + (features + 1) * d_out
    for chunk, count in enumerate(blocks):
        width = filters * 2**chunk
        total += count * (18 * width**2 + 4 * width)
        if chunk:
            total += 2 * width - 4 * width**2  # 27/2 + 1/2 - 18 = -4
    return total


def body_parameters(blocks: Sequence[int], filters: int, input_shape: tuple[int, ...]) -> dict[str, Parameter]:
    """Every tensor before the outputs, torchvision's names, in the order of the module."""
    channels, *image = input_shape
    pixels = math.prod(image)
    named = _convolution("conv1", "bn1", channels, filters, 3, pixels)
    before = filters
    for chunk, count in enumerate(blocks):
        width = filters * 2**chunk
        image = [math.ceil(size / 2) for size in image] if chunk else image
        pixels = math.prod(image)
        for block in range(count):
            name = f"layer{chunk + 1}.{block}"
            named |= _convolution(f"{name}.conv1", f"{name}.bn1", before, width, 3, pixels)
            named |= _convolution(f"{name}.conv2", f"{name}.bn2", width, width, 3, pixels)
            if chunk and not block:
                named |= _convolution(f"{name}.downsample.0", f"{name}.downsample.1", before, width, 1, pixels)
            before = width
    return named


def resnet(
    blocks: Sequence[int] = BLOCKS["resnet18"],
    filters: int = FILTERS,
    d_out: int = 10,
    *,
    head: Sequence[int] = (),
    norm: str = "batch_norm",
    channels: int = 3,
) -> nn.Module:
    """Build a residual net with the CIFAR stem.

    Args:
        blocks: blocks in each of the chunks, (2, 2, 2, 2) for ResNet-18 and (3, 4, 6, 3) for ResNet-34.
        filters: F of the first chunk; it doubles from chunk to chunk. d_out: classes.
        head: units of hidden layers before the outputs; none in the standard net.
        norm: "batch_norm" or "group_norm" (up to 32 groups), which has per-example gradients in training too.
        channels: of the images.

    Returns:
        A module from [N, channels, H, W] to [N, d_out], initialised as PyTorch does.

    >>> sum(parameter.numel() for parameter in resnet().parameters())
    11173962
    """
    from batchscope.architectures.modules import ResNet

    choose("norm", norm, NORMS)
    if min(blocks, default=0) < 1 or filters < 1:
        raise InputError(
            f"blocks {tuple(blocks)}, {filters} filters: expected at least one block in each chunk and one filter"
        )
    return ResNet(channels, tuple(blocks), filters, (filters * 2 ** (len(blocks) - 1), *head, d_out), norm)


def _convolution(name: str, norm: str, fan_in: int, fan_out: int, kernel: int, pixels: int) -> dict[str, Parameter]:
    """A convolution without bias and the normalisation after it."""
    return {
        f"{name}.weight": Parameter((fan_out, fan_in, kernel, kernel), pixels),
        f"{norm}.weight": Parameter((fan_out,)),
        f"{norm}.bias": Parameter((fan_out,)),
    }


def _named_fc(sizes: tuple[int, ...]) -> dict[str, Parameter]:
    """torchvision's fc.weight and fc.bias; with hidden layers fc.0.weight, ..."""
    if len(sizes) > 2:
        return linear_parameters(sizes, bias=True, prefix="fc.")
    return {"fc.weight": Parameter((sizes[1], sizes[0])), "fc.bias": Parameter((sizes[1],))}


def _norm_label(net: Architecture) -> str:
    return "" if net.norm == NORMS[0] else f" {net.norm}"


def _check(net: Architecture) -> None:
    if len(net.input_shape) != 3 or min(net.input_shape[1:]) < SMALLEST_IMAGE:
        raise InputError(
            f"a residual net got examples of shape {tuple(net.input_shape)}; expected images (channels, height, width) "
            f"of at least {SMALLEST_IMAGE} x {SMALLEST_IMAGE}"
        )
