"""The two losses of the paper on stacks of members: values, accuracy, and the gradient at the outputs.

Classification: softmax cross-entropy, ℓ = log Σ_j exp(f_j) - f_y. Regression: ℓ = ½‖f - y‖² (the factor ½ as in the
theory; Keras' mean squared error is 2/q times this). Outputs are [E, q, B]; targets [B, ...] shared or [E, B, ...].
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Targets:
    """values: one-hot [n, q] for classes, the targets [n, q] for regression. labels: [n] int64, None for regression."""

    values: Tensor
    labels: Tensor | None

    @classmethod
    def of(cls, values: np.ndarray, num_classes: int | None, device: torch.device, dtype: torch.dtype) -> Targets:
        """values: class numbers [n], or regression targets [n, q] where num_classes is None."""
        tensor = torch.as_tensor(values).to(device)
        if num_classes is None:
            return cls(tensor.to(dtype), None)
        return cls(torch.nn.functional.one_hot(tensor, num_classes).to(dtype), tensor)

    def rows(self, indices: Tensor) -> Tensor:
        """The target values of a batch, feature-major: [q, B] for indices [B], [E, q, B] for [E, B]."""
        gathered = self.values.index_select(0, indices.reshape(-1))
        return gathered.view(*indices.shape, -1).transpose(-1, -2)

    def output_gradient(self, outputs: Tensor, values: Tensor) -> Tensor:
        """∂ℓ/∂f of every example: softmax(f) - onehot(y), or f - y."""
        predicted = outputs if self.labels is None else outputs.softmax(dim=1)
        return predicted.sub_(values)

    def correct(self, outputs: Tensor, indices: Tensor) -> Tensor:
        """Correct answers of every member among the examples at `indices`, [B] or [E, B]; [E], NaN for regression."""
        if self.labels is None:
            return outputs.new_full((len(outputs),), torch.nan, dtype=torch.float64)
        return num_correct(outputs, self.labels[indices])

    def evaluate(self, outputs: Tensor, start: int) -> tuple[Tensor, Tensor]:
        """Sums over the examples start..start+B of loss and of correct answers, each [E] float64."""
        size = outputs.shape[-1]
        if self.labels is None:
            residual = outputs - self.values[start : start + size].t()
            return residual.square().sum((1, 2), dtype=torch.float64) / 2, outputs.new_full((len(outputs),), torch.nan)
        labels = self.labels[start : start + size]
        chosen = outputs.gather(1, labels.expand(len(outputs), 1, size)).squeeze(1)
        loss = (outputs.logsumexp(1) - chosen).sum(-1, dtype=torch.float64)
        return loss, num_correct(outputs, labels)


def num_correct(outputs: Tensor, labels: Tensor) -> Tensor:
    """Of how many examples the label's output is the largest, or the first of several largest: [E] float64.

    outputs: [E, q, B]. labels: [B] or [E, B]. On CPUs argmax takes as long as a third of a forward pass; where no
    largest output is tied, comparing maxima gives the same number in a fraction of that. NaN counts as the largest.
    """
    if outputs.is_cuda:
        return _by_argmax(outputs, labels)
    at_label = labels.expand(len(outputs), -1).unsqueeze(1)
    chosen = outputs.gather(1, at_label)
    others = outputs.scatter(1, at_label, -math.inf).amax(1, keepdim=True)
    wins, losses = chosen > others, chosen < others
    correct = wins.sum((1, 2), dtype=torch.float64)
    decided = correct.sum() + losses.sum()
    return correct if decided == chosen.numel() else _by_argmax(outputs, labels)


def _by_argmax(outputs: Tensor, labels: Tensor) -> Tensor:
    return (outputs.argmax(1) == labels).sum(-1, dtype=torch.float64)
