"""Gains and biases of normalisation layers: y = γ ⊙ x̂ + β, so dγ = sum_t dy_t ⊙ x̂_t and dβ = sum_t dy_t."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from batchscope.gradients.rules.lazy_gradients import Dense
from batchscope.gradients.rules.rule import Uses, rule, sum_positions


@rule(F.layer_norm)
def layer_norm(
    grad: Tensor,
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Uses:
    """x̂ normalised over the last axes; gains have their shape."""
    axes = len(normalized_shape)
    if weight is not None:
        normalised = F.layer_norm(input.to(weight.dtype), normalized_shape, None, None, eps)
        yield weight, Dense(sum_positions(grad * normalised, axes))
    if bias is not None:
        yield bias, Dense(sum_positions(grad, axes))


@rule(F.rms_norm)
def rms_norm(
    grad: Tensor,
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Uses:
    """x̂ = x / root mean square over the last axes."""
    if weight is not None:
        normalised = F.rms_norm(input.to(weight.dtype), normalized_shape, None, eps)
        yield weight, Dense(sum_positions(grad * normalised, len(normalized_shape)))


@rule(F.group_norm)
def group_norm(
    grad: Tensor,
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Uses:
    """x̂ normalised over the channels and pixels of a group; gains are per channel."""
    normalised = F.group_norm(input.flatten(0, 1), num_groups, None, None, eps).view(input.shape)
    yield from _per_channel(grad, normalised, weight, bias)


@rule(F.instance_norm)
def instance_norm(
    grad: Tensor,
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Uses:
    """x̂ normalised over the pixels of each channel, or by running statistics."""
    if use_input_stats:
        normalised = F.instance_norm(input.flatten(0, 1), eps=eps).view(input.shape)
    else:
        normalised = _standardise(input, running_mean, running_var, eps)
    yield from _per_channel(grad, normalised, weight, bias)


@rule(F.batch_norm)
def batch_norm(
    grad: Tensor,
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Uses:
    """x̂ normalised by running statistics. By batch statistics the examples are coupled and there is no such rule."""
    if training:
        raise NotImplementedError
    yield from _per_channel(grad, _standardise(input, running_mean, running_var, eps), weight, bias)


def _standardise(input: Tensor, mean: Tensor | None, variance: Tensor | None, eps: float) -> Tensor:
    if mean is None or variance is None:
        raise NotImplementedError
    shape = (-1, *[1] * (input.ndim - 3))
    return (input - mean.view(shape)) * torch.rsqrt(variance + eps).view(shape)


def _per_channel(grad: Tensor, normalised: Tensor, weight: Tensor | None, bias: Tensor | None) -> Uses:
    """[N, q, C, *pixels]: sum over q and pixels."""
    axes = (1, *range(3, grad.ndim))
    if weight is not None:
        yield weight, Dense((grad * normalised).sum(axes))
    if bias is not None:
        yield bias, Dense(grad.sum(axes))
