"""AdamW: Adam with weight decay apart from the gradient (Loshchilov & Hutter 2019, algorithm 2)."""

from __future__ import annotations

from torch import Tensor

from batchscope.options import TrainingOptions
from batchscope.training.optimizers.adam import EPSILON, Adam


class AdamW(Adam):
    """w <- (1 - η λ) w, then Adam's step; λ multiplies η as in torch.optim."""

    decays_in_gradient = False

    def move(self, gradient: Tensor, step_sizes: Tensor) -> None:
        self.parameter.mul_(1 - step_sizes * self.weight_decay)
        super().move(gradient, step_sizes)


def rule(settings: TrainingOptions, parameter: Tensor, layer_dims: int) -> AdamW:
    """As Adam, λ apart from the gradient."""
    betas = settings.beta1, settings.beta2
    return AdamW(parameter, layer_dims, settings.weight_decay, betas, settings.epsilon or EPSILON)
