"""Activations in place: h = σ(z) written over z, and δ ← δ · σ'(z) from h alone, so that z need not be kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class InPlaceActivation:
    """apply_(z) overwrites z with h = σ(z); backward_(delta, h) multiplies delta by σ' expressed through h."""

    apply_: Callable[[Tensor], object]
    backward_: Callable[[Tensor, Tensor], object]


def _relu_backward_(delta: Tensor, h: Tensor) -> None:
    torch.ops.aten.threshold_backward.grad_input(delta, h, 0, grad_input=delta)


def _tanh_backward_(delta: Tensor, h: Tensor) -> None:
    torch.ops.aten.tanh_backward.grad_input(delta, h, grad_input=delta)  # 1 - h²


def _softsign_(z: Tensor) -> None:
    z.div_(z.abs().add_(1))


def _softsign_backward_(delta: Tensor, h: Tensor) -> None:
    root = h.abs().sub_(1)  # σ' = 1 / (1 + |z|)² = (1 - |h|)²
    delta.mul_(root).mul_(root)


def _arctan_backward_(delta: Tensor, h: Tensor) -> None:
    root = h.cos()  # σ' = 1 / (1 + tan² h) = cos² h
    delta.mul_(root).mul_(root)


def _nothing(*_: Tensor) -> None:
    pass


ACTIVATIONS: dict[str, InPlaceActivation] = {
    "relu": InPlaceActivation(torch.relu_, _relu_backward_),
    "tanh": InPlaceActivation(torch.tanh_, _tanh_backward_),
    "softsign": InPlaceActivation(_softsign_, _softsign_backward_),
    "arctan": InPlaceActivation(torch.atan_, _arctan_backward_),
    "linear": InPlaceActivation(_nothing, _nothing),
}
