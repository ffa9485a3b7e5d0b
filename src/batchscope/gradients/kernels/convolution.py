"""Kernels for Patches: per-example weight gradients of convolutions."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from batchscope.gradients.kernels import Result, kernel, sq_norms
from batchscope.gradients.uses import Patches


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
    norms, total = [], use.grads.new_zeros(use.shape)
    for start in range(0, use.num_examples, chunk):
        gradients = _grouped_gradients(use, slice(start, start + chunk))
        norms.append(sq_norms(gradients))
        total += gradients.sum(0)
    return torch.cat(norms), total


def _grouped_gradients(use: Patches, rows: slice) -> Tensor:
    grads, inputs = use.grads[rows], use.inputs[rows]
    n = len(grads)
    merged = Patches(
        grads.reshape(1, -1, *grads.shape[2:]), inputs.reshape(1, -1, *inputs.shape[2:]),
        (n * use.shape[0], *use.shape[1:]), use.stride, use.padding, use.dilation, n * use.groups,
    )  # fmt: skip
    return merged.weight_gradient(slice(0, 1)).reshape(n, *use.shape)
