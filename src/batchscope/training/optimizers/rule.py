"""What an update rule is: a sink that takes gradients, and a step that moves the parameter.

A trainer that can form a gradient as a product of two matrices adds it straight into `sink` with the factors `beta` and
`alpha` (one call of addmm or baddbmm, no gradient ever stored); one that has the gradient at hand calls `take`. The
gradient is multiplied beforehand by `scale`, which may hold one step size per member of a cohort. For plain SGD the
sink is the parameter itself: the product *is* the step.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor


class UpdateRule(abc.ABC):
    """The rule for one parameter tensor; its state is indexed like the parameter, or a scalar."""

    beta: float  # sink <- beta * sink + alpha * scale * gradient
    alpha: float

    def __init__(self, parameter: Tensor) -> None:
        self.parameter = parameter

    @property
    @abc.abstractmethod
    def sink(self) -> Tensor:
        """Where scaled gradients go; same shape as the parameter."""

    @staticmethod
    def scale(step_sizes: Tensor) -> Tensor:
        """The factor by which the gradient of the mean loss is multiplied before it reaches the sink; 1 here."""
        return torch.ones_like(step_sizes)

    @abc.abstractmethod
    def step(self, step_sizes: Tensor) -> None:
        """Move the parameter, the sink being filled. step_sizes broadcasts against the parameter."""

    def take(self, scaled_gradient: Tensor) -> None:
        """Put a gradient that is already scaled into the sink."""
        if self.beta != 1:
            self.sink.mul_(self.beta)
        self.sink.add_(scaled_gradient, alpha=self.alpha)

    def select(self, parameter: Tensor, members: Tensor, dim: int) -> Self:
        """The same rule for the members that go on, given their already selected parameter."""
        chosen = type(self).__new__(type(self))
        for name, value in vars(self).items():
            per_member = isinstance(value, Tensor) and value is not self.parameter and value.dim() > 0
            setattr(chosen, name, value.index_select(dim, members) if per_member else value)
        chosen.parameter = parameter
        return chosen

    def state(self) -> dict[str, Any]:
        """All but the parameter itself: tensors and numbers."""
        return {name: value for name, value in vars(self).items() if value is not self.parameter}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` of the same rule returned."""
        for name, value in state.items():
            if isinstance(value, Tensor):
                getattr(self, name).copy_(value)
            else:
                setattr(self, name, value)


class FromGradient(UpdateRule):
    """A rule that needs the plain gradient of the mean loss: subclasses define `move`.

    layer_dims: trailing dimensions of the parameter that are one layer's; those before them count members, and equal
        layers of a member. is_weight: False for biases and the gains of normalisation layers.
    weight_decay: λ; where the rule does not say otherwise λ w joins the gradient, as in torch.optim.
    """

    beta, alpha = 0.0, 1.0
    decays_in_gradient = True

    def __init__(self, parameter: Tensor, layer_dims: int, weight_decay: float = 0.0) -> None:
        super().__init__(parameter)
        self.layer_dims, self.weight_decay = layer_dims, weight_decay
        self.gradient = torch.zeros_like(parameter)

    @property
    def sink(self) -> Tensor:
        return self.gradient

    @property
    def is_weight(self) -> bool:
        """Whether it multiplies activations."""
        return self.layer_dims > 1

    def step(self, step_sizes: Tensor) -> None:
        if self.weight_decay and self.decays_in_gradient:
            self.gradient.add_(self.parameter, alpha=self.weight_decay)
        self.move(self.gradient, step_sizes)

    @abc.abstractmethod
    def move(self, gradient: Tensor, step_sizes: Tensor) -> None:
        """Move the parameter, given the gradient of the mean loss; may overwrite the gradient."""

    def layer_norm(self, tensor: Tensor) -> Tensor:
        """The Euclidean norm of each layer of each member, to broadcast against the parameter."""
        dims = tuple(range(-self.layer_dims, 0))
        norm: Tensor = torch.linalg.vector_norm(tensor, dim=dims, keepdim=True)
        return norm


class GradientSum(UpdateRule):
    """Moves nothing: its sink gathers the sum of what it is given, for measurements."""

    beta, alpha = 1.0, 1.0

    def __init__(self, parameter: Tensor) -> None:
        super().__init__(parameter)
        self.total = torch.zeros_like(parameter)

    @property
    def sink(self) -> Tensor:
        return self.total

    def step(self, step_sizes: Tensor) -> None:
        pass
