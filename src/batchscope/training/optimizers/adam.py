"""Adam (Kingma & Ba 2015, algorithm 1)."""

from __future__ import annotations

import torch
from torch import Tensor

from batchscope.options import TrainingOptions
from batchscope.training.optimizers.rule import FromGradient

EPSILON = 1e-8  # theirs


class Adam(FromGradient):
    """m, v: decaying means of g and g²; w <- w - η m̂ / (sqrt(v̂) + ε), both means corrected for their start at 0."""

    def __init__(
        self, parameter: Tensor, layer_dims: int, weight_decay: float, betas: tuple[float, float], epsilon: float
    ) -> None:
        super().__init__(parameter, layer_dims, weight_decay)
        self.beta1, self.beta2 = betas
        self.epsilon = epsilon
        self.mean = torch.zeros_like(parameter)
        self.square = torch.zeros_like(parameter)
        # A tensor, so that a step recorded as a CUDA graph counts too.
        self.steps = torch.zeros((), dtype=torch.float64, device=parameter.device)

    def move(self, gradient: Tensor, step_sizes: Tensor) -> None:
        root = self._root(gradient)
        self.parameter.sub_(self.mean.div(root).mul_(step_sizes / (1 - self.beta1**self.steps)))

    def _root(self, gradient: Tensor) -> Tensor:
        """sqrt(v̂) + ε, after the gradient has joined both means."""
        self.steps += 1
        self.mean.lerp_(gradient, 1 - self.beta1)
        self.square.mul_(self.beta2).addcmul_(gradient, gradient, value=1 - self.beta2)
        return self.square.div(1 - self.beta2**self.steps).sqrt_().add_(self.epsilon)


def rule(settings: TrainingOptions, parameter: Tensor, layer_dims: int) -> Adam:
    """ε = 1e-8 unless given (Kingma & Ba 2015, algorithm 1)."""
    betas = settings.beta1, settings.beta2
    return Adam(parameter, layer_dims, settings.weight_decay, betas, settings.epsilon or EPSILON)
