"""The two losses of the paper for the outputs of a module; `stacked/targets.py` says which and with what factors."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def per_example(outputs: Tensor, targets: Tensor) -> Tensor:
    """The loss of every example [B]: cross-entropy for targets [B] int64 (classes), half the square for [B, q]."""
    if targets.dim() == 1:
        return F.cross_entropy(outputs, targets, reduction="none")
    return (outputs - targets).square().sum(1) / 2


def num_correct(outputs: Tensor, targets: Tensor) -> Tensor:
    """Correct answers among the outputs [B, q], float64; NaN for regression."""
    if targets.dim() > 1:
        return outputs.new_tensor(torch.nan, dtype=torch.float64)
    return (outputs.argmax(1) == targets).sum(dtype=torch.float64)
