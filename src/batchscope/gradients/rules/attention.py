"""Multi-head attention, written out as projections and scaled_dot_product_attention, which has no parameters.

`nn.MultiheadAttention` is one call to torch (its output projection never runs as a module), so it is rewritten; models
that call F.linear and F.scaled_dot_product_attention themselves need nothing.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from batchscope.gradients.rules.rule import rewrite


@rewrite(F.multi_head_attention_forward)
def multi_head_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> Any:
    """Same arguments and results as torch's: (output [T, N, E], attention weights or None)."""
    unusual = (bias_k, bias_v, static_k, static_v)
    if query.ndim != 3 or add_zero_attn or any(tensor is not None for tensor in unusual):
        return NotImplemented
    separate = (q_proj_weight, k_proj_weight, v_proj_weight)
    projected = _project((query, key, value), in_proj_weight, in_proj_bias, separate)
    q, k, v = (_split_heads(x, num_heads) for x in projected)
    mask = _mask(attn_mask, key_padding_mask, q)
    attended, weights = _attend(q, k, v, mask, dropout_p if training else 0.0, need_weights)
    merged = attended.permute(2, 0, 1, 3).flatten(2)  # [N, heads, T, E/heads] -> [T, N, E]
    output = F.linear(merged, out_proj_weight, out_proj_bias)
    return output, weights.mean(1) if weights is not None and average_attn_weights else weights


def _project(
    inputs: tuple[Tensor, Tensor, Tensor],
    packed: Tensor | None,
    bias: Tensor | None,
    separate: tuple[Tensor | None, Tensor | None, Tensor | None],
) -> tuple[Tensor, ...]:
    """Queries, keys and values [T, N, E]; with one input and packed weights a single product."""
    query, key, value = inputs
    if packed is not None and query is key and key is value:
        return F.linear(query, packed, bias).chunk(3, -1)
    weights = packed.chunk(3) if packed is not None else separate
    biases = bias.chunk(3) if bias is not None else (None, None, None)
    return tuple(F.linear(x, w, b) for x, w, b in zip(inputs, weights, biases, strict=True))  # type: ignore[arg-type]


def _split_heads(x: Tensor, num_heads: int) -> Tensor:
    """[T, N, E] -> [N, heads, T, E/heads]."""
    return x.reshape(*x.shape[:-1], num_heads, -1).permute(1, 2, 0, 3)


def _mask(attn_mask: Tensor | None, key_padding_mask: Tensor | None, q: Tensor) -> Tensor | None:
    """Both masks as one that is added to the logits, broadcastable to [N, heads, T, S]."""
    masks = []
    if attn_mask is not None:
        added = _additive(attn_mask, q)
        masks.append(added.reshape(q.shape[0], -1, *added.shape[1:]) if added.ndim == 3 else added)
    if key_padding_mask is not None:
        masks.append(_additive(key_padding_mask, q)[:, None, None, :])
    return sum(masks[1:], masks[0]) if masks else None


def _additive(mask: Tensor, like: Tensor) -> Tensor:
    if mask.dtype != torch.bool:
        return mask.to(like.dtype)
    return torch.zeros_like(mask, dtype=like.dtype).masked_fill(mask, -math.inf)


def _attend(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: float, need_weights: bool
) -> tuple[Tensor, Tensor | None]:
    if not need_weights:
        return F.scaled_dot_product_attention(q, k, v, mask, dropout), None
    logits = q @ k.mT / math.sqrt(q.shape[-1])
    weights = torch.softmax(logits if mask is None else logits + mask, -1)
    weights = F.dropout(weights, dropout) if dropout else weights
    return weights @ v, weights
