"""Normalisation layers whose backward kernel gives the per-example gradients of gain and bias for nothing.

GroupNorm: a batch [N, C, ...] in G groups is one example [1, N·C, ...] in N·G groups; the ordinary backward kernel then
returns dγ and dβ of N·C channels, which are the per-example ones. LayerNorm: its backward kernel gives dx alone, and dγ
and dβ are sums over the positions of each example, with the mean and deviation that the forward pass has left.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from batchscope.gradients.rules.lazy_gradients import Dense
from batchscope.gradients.rules.rule import Deliver, replacement


class _GroupNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, anchor: Tensor, deliver: Deliver, x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float
    ) -> Tensor:
        n, c = x.shape[:2]
        sizes = (1, n * c, x[0, 0].numel(), n * groups)
        tiled = weight.repeat(n)
        output: Tensor
        # The kernel goes by `sizes`, not by the input's shape; a reshaped output could not be changed in place later.
        output, mean, rstd = torch.native_group_norm(x, tiled, bias.repeat(n), *sizes, eps)
        ctx.save_for_backward(x, mean, rstd, tiled)
        ctx.deliver, ctx.parameters, ctx.sizes = deliver, (weight, bias), sizes
        return output

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        x, mean, rstd, tiled = ctx.saved_tensors
        mask = (ctx.needs_input_grad[2], True, True)
        dx, *gradients = torch.ops.aten.native_group_norm_backward(
            grads[0].contiguous(), x, mean, rstd, tiled, *ctx.sizes, mask
        )
        ctx.deliver([(p, Dense(g.view(x.shape[:2]))) for p, g in zip(ctx.parameters, gradients, strict=True)])
        return None, None, dx if mask[0] else None, None, None, None, None


@replacement(F.group_norm)
def group_norm(
    anchor: Tensor,
    deliver: Deliver,
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Any:
    """F.group_norm on contiguous inputs with gain and bias."""
    if weight is None or bias is None or not input.is_contiguous() or input.dtype != weight.dtype:
        return NotImplemented
    apply: Callable[..., Tensor] = _GroupNorm.apply
    return apply(anchor, deliver, input, weight, bias, num_groups, eps)


class _LayerNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        anchor: Tensor,
        deliver: Deliver,
        x: Tensor,
        shape: list[int],
        weight: Tensor,
        bias: Tensor,
        eps: float,
    ) -> Tensor:
        output: Tensor
        output, mean, rstd = torch.native_layer_norm(x, shape, weight, bias, eps)
        ctx.save_for_backward(x, mean, rstd)
        ctx.deliver, ctx.shape, ctx.parameters = deliver, shape, (weight, bias)
        return output

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        x, mean, rstd = ctx.saved_tensors
        grad, dx = grads[0].contiguous(), None
        if ctx.needs_input_grad[2]:
            mask = (True, False, False)
            dx, _, _ = torch.ops.aten.native_layer_norm_backward(grad, x, ctx.shape, mean, rstd, *ctx.parameters, mask)
        positions = grad.view(len(x), -1, math.prod(ctx.shape))
        centred = (x - mean).mul_(grad).view_as(positions)
        gradients = torch.bmm(rstd.view(len(x), 1, -1), centred), positions.sum(1)
        sizes = (len(x), *ctx.shape)
        ctx.deliver([(p, Dense(g.view(sizes))) for p, g in zip(ctx.parameters, gradients, strict=True)])
        return None, None, dx, None, None, None, None


@replacement(F.layer_norm)
def layer_norm(
    anchor: Tensor,
    deliver: Deliver,
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Any:
    """F.layer_norm on contiguous inputs with gain and bias."""
    if weight is None or bias is None or input.dtype != weight.dtype or not input.is_contiguous():
        return NotImplemented
    apply: Callable[..., Tensor] = _LayerNorm.apply
    return apply(anchor, deliver, input, list(normalized_shape), weight, bias, eps)
