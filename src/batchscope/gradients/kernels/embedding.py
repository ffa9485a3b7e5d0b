"""Kernels for LookedUpRows: rows of a table that were looked up."""

from __future__ import annotations

import torch
from torch import Tensor

from batchscope.gradients.kernels.kernel import chunks, kernel
from batchscope.gradients.rules.lazy_gradients import LookedUpRows


def _summed(use: LookedUpRows) -> Tensor:
    table = use.grads.new_zeros(use.shape)
    return table.index_add_(0, use.index.flatten(), use.grads.flatten(0, 1))


@kernel(
    LookedUpRows,
    scratch=lambda use: 2 * use.grads[0].numel(),
    flops=lambda use: 6.0 * use.grads[0].numel(),
    summed=_summed,
)
def gathered(use: LookedUpRows, chunk: int) -> Tensor:
    """Add up the entries of equal (example, row), square, add per example."""
    example = torch.arange(use.num_examples, device=use.index.device).unsqueeze(1)
    keys, place = torch.unique(example * use.shape[0] + use.index, return_inverse=True)
    rows = use.grads.new_zeros(len(keys), use.shape[1]).index_add_(0, place.flatten(), use.grads.flatten(0, 1))
    norms = use.grads.new_zeros(use.num_examples)
    return norms.index_add_(0, keys // use.shape[0], (rows * rows).sum(1))


def _gram_flops(use: LookedUpRows) -> float:
    _, positions, d = use.grads.shape
    return 2.0 * positions**2 * (d + 1)


@kernel(LookedUpRows, scratch=lambda use: 2 * use.index.shape[1] ** 2, flops=_gram_flops, summed=_summed)
def ghost(use: LookedUpRows, chunk: int) -> Tensor:
    """sum over pairs of positions with the same row of <g_t, g_s>."""
    norms = []
    for rows in chunks(use.num_examples, chunk):
        index, grads = use.index[rows], use.grads[rows]
        same = index.unsqueeze(1) == index.unsqueeze(2)
        norms.append((torch.bmm(grads, grads.mT) * same).sum((1, 2)))
    return torch.cat(norms)
