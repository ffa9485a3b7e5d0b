"""Look-ups in a table: Embedding and EmbeddingBag, with padding_idx (whose row receives no gradient)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from batchscope.gradients.rules.lazy_gradients import LookedUpRows
from batchscope.gradients.rules.rule import Uses, as_positions, rule


@rule(F.embedding)
def embedding(
    grad: Tensor,
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Uses:
    """y_t = W[index_t]: the gradient of row r is the sum of dy_t over the positions with index_t = r."""
    yield weight, _rows(input.flatten(1), as_positions(grad), weight, padding_idx)


@rule(F.embedding_bag)
def embedding_bag(
    grad: Tensor,
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Uses:
    """y = sum or mean over a bag [bags, entries] of table rows; every entry of a bag receives the bag's gradient."""
    if offsets is not None or mode == "max" or per_sample_weights is not None:
        raise NotImplementedError
    counted = input >= 0 if padding_idx is None else input != padding_idx % weight.shape[0]
    if mode == "mean":
        grad = grad / counted.sum(-1, keepdim=True).clamp(min=1)
    spread = grad.unsqueeze(-2).expand(*input.shape, grad.shape[-1])
    yield weight, _rows(input.flatten(1), as_positions(spread), weight, padding_idx)


def _rows(index: Tensor, grads: Tensor, weight: Tensor, padding_idx: int | None) -> LookedUpRows:
    if padding_idx is not None:
        grads = grads.masked_fill((index == padding_idx % weight.shape[0]).unsqueeze(-1), 0)
    return LookedUpRows(index.long(), grads, tuple(weight.shape))
