"""Gradient diversity of all members of a stack at once, exactly, over the whole data set.

In a layer h' = σ(W h + b) the gradient of example i is the outer product δ_i h_iᵀ, so that
‖g_i‖² = Σ_layers ‖δ_i‖² (‖h_i‖² + 1), the 1 for the bias; Σ_i g_i is the ordinary sum of gradients.
"""

from __future__ import annotations

import torch
from torch import Tensor

from batchscope.training.optimizers.rule import GradientSum
from batchscope.training.stacked.net import Stack, Workspace, accumulate, backward, forward
from batchscope.training.stacked.targets import Targets


def batch_size_bounds(stack: Stack, inputs: Tensor, targets: Targets, chunk: int = 1024) -> Tensor:
    """Return B_S = n Σ‖g_i‖² / ‖Σ g_i‖² of each member, [E] float64 (Yin et al. 2018; Definition 1 of the paper).

    inputs: [n, d]. A member whose summed gradient vanishes has B_S = inf, or NaN if every gradient does.
    """
    sum_sq_norms = torch.zeros(stack.num_members, dtype=torch.float64, device=inputs.device)
    sums = {name: torch.zeros_like(tensor, dtype=torch.float64) for name, tensor, _ in stack.tensors()}
    for start in range(0, len(inputs), chunk):
        batch = inputs[start : start + chunk]
        work = Workspace(stack, len(batch))
        indices = torch.arange(start, start + len(batch), device=inputs.device)
        outputs = forward(stack, batch, work.h_layers, work.outputs)
        output_gradient = targets.output_gradient(outputs, targets.rows(indices))
        backward(stack, output_gradient, work)
        sum_sq_norms += _sum_sq_norms(stack, batch, output_gradient, work)
        rules = {name: GradientSum(tensor) for name, tensor, _ in stack.tensors()}
        accumulate(rules, batch, output_gradient, work)
        for name, rule in rules.items():
            sums[name] += rule.sink
    sq_norm_sum = torch.zeros_like(sum_sq_norms)
    for name, _, dim in stack.tensors():
        sq_norm_sum += sums[name].movedim(dim, 0).flatten(1).square().sum(1)
    return len(inputs) * sum_sq_norms / sq_norm_sum


def _sum_sq_norms(stack: Stack, inputs: Tensor, output_gradient: Tensor, work: Workspace) -> Tensor:
    bias = 0.0 if stack.bias is None else 1.0
    features = [inputs.square().sum(1), *(h.square().sum(1) for h in work.h_layers)]  # [B], then [E, B] each
    gradients = [delta.square().sum(1) for delta in (*work.delta_layers, output_gradient)]  # [E, B] each
    layers = zip(features, gradients, strict=True)
    return torch.stack([((h + bias) * g).sum(-1, dtype=torch.float64) for h, g in layers]).sum(0)
