"""The oracle: the definition, in a loop readable in a minute. Slow; every fast rule is tested against it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from batchscope.gradients.subject.batches import call, make_batch
from batchscope.gradients.subject.losses import Loss, per_example_losses, unreduced


def per_example_gradients(model: nn.Module, loss: Loss, inputs: Any, targets: Any) -> dict[str, Tensor]:
    """Parameter name -> g_i for every example, [N, *shape]: each from a batch that holds the example alone."""
    loss = unreduced(loss)
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    batch = make_batch(inputs, targets, next(model.parameters()).device)
    rows: dict[str, list[Tensor]] = {name: [] for name in parameters}
    for i in range(batch.num_examples):
        one = batch.take(torch.tensor([i]))
        value = per_example_losses(loss, call(model, one.inputs), one.targets, 1).sum()
        gradients = torch.autograd.grad(value, list(parameters.values()), allow_unused=True)
        for (name, parameter), gradient in zip(parameters.items(), gradients, strict=True):
            rows[name].append(torch.zeros_like(parameter) if gradient is None else gradient)
    return {
        name: torch.stack(rows[name]) if rows[name] else parameter.new_zeros(0, *parameter.shape)
        for name, parameter in parameters.items()
    }


def moments(model: nn.Module, loss: Loss, inputs: Any, targets: Any) -> dict[str, tuple[float, float]]:
    """Parameter name -> (S1, Q) = (sum_i ‖g_i‖², ‖sum_i g_i‖²), in float64."""
    gradients = per_example_gradients(model, loss, inputs, targets)
    return {
        name: (float(g.double().square().sum()), float(g.double().sum(0).square().sum()))
        for name, g in gradients.items()
    }
