"""Kernels for Patches: per-example weight gradients of convolutions.

Shapes: n examples of a chunk, g groups, c = C/g and p/g channels per group, K kernel entries, T output positions,
P padded pixels.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from batchscope.gradients.kernels.kernel import Result, chunks, kernel, norms_and_sum, sq_norms
from batchscope.gradients.rules.lazy_gradients import Patches


def _summed(use: Patches) -> Tensor:
    return use.weight_gradient(slice(0, use.num_examples))


def _weights(use: Patches) -> int:
    return math.prod(use.shape)


def _positions(use: Patches) -> int:
    return math.prod(use.grads.shape[2:])


def _gradient_flops(use: Patches) -> float:
    return 2.0 * _positions(use) * _weights(use) + 3.0 * _weights(use)


@kernel(Patches, scratch=_weights, flops=_gradient_flops)
def looped(use: Patches, chunk: int) -> Result:
    """The library's weight gradient of one example after another; their sum replaces the ordinary one."""
    norms = use.grads.new_empty(use.num_examples)
    total = use.grads.new_zeros(use.shape)
    for i in range(use.num_examples):
        gradient = use.weight_gradient(slice(i, i + 1))
        norms[i] = sq_norms(gradient.unsqueeze(0))[0]
        total += gradient
    return norms, total


@kernel(Patches, scratch=lambda use: 3 * _weights(use), flops=_gradient_flops)
def grouped(use: Patches, chunk: int) -> Result:
    """One weight gradient with every example as a group of its own: [1, n·C, ...] and n·groups groups."""
    return norms_and_sum(_grouped_gradients(use, rows) for rows in chunks(use.num_examples, chunk))


def _grouped_gradients(use: Patches, rows: slice) -> Tensor:
    grads, inputs = use.grads[rows], use.inputs[rows]
    n = len(grads)
    merged = Patches(
        grads.reshape(1, -1, *grads.shape[2:]), inputs.reshape(1, -1, *inputs.shape[2:]),
        (n * use.shape[0], *use.shape[1:]), use.stride, use.padding, use.dilation, n * use.groups,
    )  # fmt: skip
    return merged.weight_gradient(slice(0, 1)).reshape(n, *use.shape)


def _columns(use: Patches) -> int:
    """Entries of the unfolded input of one example: c K T g."""
    return use.inputs.shape[1] * math.prod(use.shape[2:]) * _positions(use)


@kernel(Patches, scratch=lambda use: _columns(use) + 2 * _weights(use), flops=_gradient_flops)
def unfolded(use: Patches, chunk: int) -> Result:
    """Copy the patches into a matrix and multiply: per-example gradients whose sum replaces the ordinary one."""
    return norms_and_sum(_unfolded_gradients(use, rows) for rows in chunks(use.num_examples, chunk))


def _unfolded_gradients(use: Patches, rows: slice) -> Tensor:
    grads, columns = _as_groups(use.grads[rows], use.groups), _unfold(use, rows)
    return torch.bmm(grads, columns.mT).view(-1, *use.shape)


def _as_groups(x: Tensor, groups: int) -> Tensor:
    """[n, channels, *positions] -> [n g, channels/g, positions]."""
    return x.reshape(x.shape[0] * groups, x.shape[1] // groups, -1)


def _padded(use: Patches, rows: slice) -> Tensor:
    margins = [size for size in reversed(use.padding) for _ in range(2)]
    return F.pad(use.inputs[rows], margins) if any(margins) else use.inputs[rows]


def _unfold(use: Patches, rows: slice) -> Tensor:
    """The patches of the inputs, [n g, c K, T]."""
    x = _padded(use, rows).contiguous()
    n, channels, *_ = x.shape
    steps = x.stride()[2:]
    strides = [step * dilation for step, dilation in zip(steps, use.dilation, strict=True)]
    strides += [step * stride for step, stride in zip(steps, use.stride, strict=True)]
    sizes = (n, channels, *use.shape[2:], *use.grads.shape[2:])
    view = x.as_strided(sizes, (*x.stride()[:2], *strides))
    return view.reshape(n * use.groups, (channels // use.groups) * math.prod(use.shape[2:]), _positions(use))


def _ghost_flops(use: Patches) -> float:
    positions = _positions(use)
    depth = math.prod(use.shape[1:]) * use.groups + use.shape[0]
    return _gradient_flops(use) + 2.0 * positions**2 * (depth + 1)


@kernel(
    Patches,
    scratch=lambda use: _columns(use) + 3 * use.groups * _positions(use) ** 2,
    flops=_ghost_flops,
    summed=_summed,
)
def ghost(use: Patches, chunk: int) -> Tensor:
    """<A A', G G'> over positions, with A the unfolded patches; the sum by the library's own weight gradient."""
    parts = []
    for rows in chunks(use.num_examples, chunk):
        grads, columns = _as_groups(use.grads[rows], use.groups), _unfold(use, rows)
        products = torch.bmm(grads.mT, grads).mul_(torch.bmm(columns.mT, columns))
        parts.append(products.view(len(use.grads[rows]), -1).sum(1))
    return torch.cat(parts)


def _pixels(use: Patches) -> int:
    return math.prod(size + 2 * pad for size, pad in zip(use.inputs.shape[2:], use.padding, strict=True))


def _pixel_flops(use: Patches) -> float:
    """The shifted slices are additions at memory speed: counted threefold."""
    positions, pixels, offsets = _positions(use), _pixels(use), sum(use.shape[2:])
    grams = 2.0 * pixels**2 * use.inputs.shape[1] + 2.0 * positions**2 * (use.shape[0] + 1)
    return _gradient_flops(use) + grams + 3.0 * use.groups * offsets * pixels**2


@kernel(
    Patches,
    applies=lambda use: math.prod(use.shape[2:]) > 1,
    scratch=lambda use: use.groups * (2 * _pixels(use) ** 2 + 2 * _positions(use) ** 2),
    flops=_pixel_flops,
    summed=_summed,
)
def pixel_ghost(use: Patches, chunk: int) -> Tensor:
    """As ghost, with the patch Gram as the sum of K shifted slices of the Gram of padded pixels: patches overlap, and
    the inner product of two pixels is formed once instead of K times."""
    parts = []
    for rows in chunks(use.num_examples, chunk):
        grads, pixels = _as_groups(use.grads[rows], use.groups), _padded(use, rows)
        flat = _as_groups(pixels, use.groups)
        patch_gram = _patch_gram(use, torch.bmm(flat.mT, flat), tuple(pixels.shape[2:]))
        gram = torch.bmm(grads.mT, grads).view(patch_gram.shape).mul_(patch_gram)
        parts.append(gram.view(len(pixels), -1).sum(1))
    return torch.cat(parts)


def _patch_gram(use: Patches, gram: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """[n g, P, P] -> [n g, *positions, *positions]: sum over kernel offsets o of the entries (t + o, s + o).

    One axis after another. An offset is the same step in the flat index for all pixels, so a shifted slice is a block
    of rows and columns; pixels at which no patch starts are summed too, and left out by the strides of the view.
    """
    steps = [math.prod(sizes[axis + 1 :]) for axis in range(len(sizes))]
    for step, entries, dilation in zip(steps, use.shape[2:], use.dilation, strict=True):
        reach = gram.shape[1] - step * dilation * (entries - 1)
        blocks = [slice(o * step * dilation, o * step * dilation + reach) for o in range(entries)]
        total = gram[:, blocks[0], blocks[0]].clone()
        for block in blocks[1:]:
            total += gram[:, block, block]
        gram = total
    n, reach, _ = gram.shape
    strides = [step * stride for step, stride in zip(steps, use.stride, strict=True)]
    positions = use.grads.shape[2:]
    return gram.as_strided((n, *positions, *positions), (reach**2, *(reach * s for s in strides), *strides))
