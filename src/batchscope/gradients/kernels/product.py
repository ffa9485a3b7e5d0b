"""Kernels for Factors: gradient_i = L_i' R_i with L_i [T, p] and R_i [T, d]."""

from __future__ import annotations

import torch
from torch import Tensor

from batchscope.gradients.kernels.kernel import Result, chunks, kernel, norms_and_sum, sq_norms
from batchscope.gradients.rules.lazy_gradients import Factors, Norms


def _sizes(use: Factors) -> tuple[int, int, int]:
    _, positions, rows = use.left.shape
    return positions, rows, use.right.shape[2]


def _summed(use: Factors) -> Tensor:
    """The ordinary weight gradient: one product over examples and positions."""
    if use.left.shape[1] == 1:
        return (use.left.squeeze(1).t() @ use.right.squeeze(1)).view(use.shape)
    return (use.left.flatten(0, 1).t() @ use.right.flatten(0, 1)).view(use.shape)


def _outer_flops(use: Factors) -> float:
    positions, p, d = _sizes(use)
    return 2.0 * positions * p * d + 2 * (p + d)


@kernel(
    Factors,
    applies=lambda use: use.left.shape[1] == 1,
    scratch=lambda use: sum(_sizes(use)),
    flops=_outer_flops,
    summed=_summed,
)
def outer(use: Factors, chunk: int) -> Tensor:
    """T = 1: ‖l r'‖² = ‖l‖² ‖r‖²."""
    left = use.left_norms or Norms(use.left)
    return (left.values * Norms(use.right).values).square_()


def _ghost_scratch(use: Factors) -> int:
    return 2 * use.left.shape[1] ** 2


def _ghost_flops(use: Factors) -> float:
    positions, p, d = _sizes(use)
    return 2.0 * positions * p * d + 2.0 * positions**2 * (p + d + 1)


@kernel(Factors, applies=lambda use: use.left.shape[1] > 1, scratch=_ghost_scratch, flops=_ghost_flops, summed=_summed)
def ghost(use: Factors, chunk: int) -> Tensor:
    """‖L'R‖² = <L L', R R'>: two Gram matrices over positions, no per-example gradient (Goodfellow 2015, Li 2022)."""
    parts = [
        (torch.bmm(use.left[rows], use.left[rows].mT) * torch.bmm(use.right[rows], use.right[rows].mT)).sum((1, 2))
        for rows in chunks(use.num_examples, chunk)
    ]
    return torch.cat(parts)


def _direct_scratch(use: Factors) -> int:
    _, p, d = _sizes(use)
    return 2 * p * d


def _direct_flops(use: Factors) -> float:
    positions, p, d = _sizes(use)
    return 2.0 * positions * p * d + 3.0 * p * d


def _direct_norms(use: Factors, chunk: int) -> Tensor:
    gradients = (torch.bmm(use.left[rows].mT, use.right[rows]) for rows in chunks(use.num_examples, chunk))
    return torch.cat([sq_norms(piece) for piece in gradients])


@kernel(
    Factors,
    applies=lambda use: use.left.shape[1] > 1,
    scratch=_direct_scratch,
    flops=_direct_flops,
    norms=_direct_norms,
)
def direct(use: Factors, chunk: int) -> Result:
    """Form the per-example gradients of a chunk at once; their sum replaces the ordinary weight gradient."""
    gradients = (torch.bmm(use.left[rows].mT, use.right[rows]) for rows in chunks(use.num_examples, chunk))
    norms, total = norms_and_sum(gradients)
    return norms, total.reshape(use.shape)


def _looped_norms(use: Factors, chunk: int) -> Tensor:
    return _one_by_one(use, None)


def _one_by_one(use: Factors, total: Tensor | None) -> Tensor:
    """Squared norms [N]; every gradient is formed in one buffer that stays in cache, and added to `total`."""
    squares = use.left.new_empty(use.num_examples)
    gradient = use.left.new_empty(use.left.shape[2], use.right.shape[2])
    for i in range(use.num_examples):
        torch.mm(use.left[i].mT, use.right[i], out=gradient)
        squares[i] = sq_norms(gradient.unsqueeze(0))[0]
        if total is not None:
            total += gradient
    return squares


@kernel(
    Factors,
    applies=lambda use: use.left.shape[1] > 1,
    scratch=_direct_scratch,
    flops=_direct_flops,
    norms=_looped_norms,
)
def looped(use: Factors, chunk: int) -> Result:
    """As direct, one example at a time."""
    total = use.left.new_zeros(use.left.shape[2], use.right.shape[2])
    return _one_by_one(use, total), total.reshape(use.shape)
