"""Convolutions in 1, 2 and 3 dimensions and their transposes, with groups, stride, dilation and padding."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from batchscope.gradients.rules.lazy_gradients import Dense, Patches
from batchscope.gradients.rules.rule import Uses, rule

Sizes = int | tuple[int, ...]


@rule(torch.conv1d, torch.conv2d, torch.conv3d)
def convolution(
    grad: Tensor,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Uses:
    """y = W * x + b. One example may hold several images (frames folded into the batch): they are added up."""
    dims = weight.ndim - 2
    dilation = _each(dilation, dims)
    if isinstance(padding, str):
        input, padding = _pad_same(input, weight, dilation) if padding == "same" else input, 0
    shared = _each(stride, dims), _each(padding, dims), dilation, groups
    yield weight, _patches(grad, input, weight, *shared)
    if bias is not None:
        yield bias, Dense(_sum_pixels(grad))


@rule(torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d)
def transposed_convolution(
    grad: Tensor,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Uses:
    """The transpose of a convolution: the weight gradient with the roles of input and output gradient exchanged."""
    dims = weight.ndim - 2
    extra = zip(_each(padding, dims), _each(output_padding, dims), strict=True)
    margins = [size for left, added in reversed(list(extra)) for size in (left, left - added)]
    zeros = (0,) * dims
    full = F.pad(grad, margins)
    yield weight, _patches(input, full, weight, _each(stride, dims), zeros, _each(dilation, dims), groups)
    if bias is not None:
        yield bias, Dense(_sum_pixels(grad))


def _patches(
    grad: Tensor,
    input: Tensor,
    weight: Tensor,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int,
) -> Patches:
    """[N, q, C, *pixels] -> Patches; q > 1 images of an example become one by a further, outermost axis of pixels."""
    if grad.shape[1] == 1:
        shape = tuple(weight.shape)
        return Patches(grad.squeeze(1), input.squeeze(1), shape, stride, padding, dilation, groups)
    if weight.ndim == 5:
        raise NotImplementedError  # there is no four-dimensional convolution
    shape = (*weight.shape[:2], 1, *weight.shape[2:])
    return Patches(grad.movedim(1, 2), input.movedim(1, 2), shape, (1, *stride), (0, *padding), (1, *dilation), groups)


def _sum_pixels(grad: Tensor) -> Tensor:
    """[N, q, p, *pixels] -> [N, p]."""
    return grad.sum((1, *range(3, grad.ndim)))


def _each(value: Sizes, dims: int) -> tuple[int, ...]:
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * dims if len(values) == 1 else values


def _pad_same(input: Tensor, weight: Tensor, dilation: tuple[int, ...]) -> Tensor:
    """Pad as padding="same" does: the odd zero, if there is one, goes to the right."""
    margins: list[int] = []
    for size, step in zip(reversed(weight.shape[2:]), reversed(dilation), strict=True):
        total = step * (size - 1)
        margins += [total // 2, total - total // 2]
    return F.pad(input, margins)
