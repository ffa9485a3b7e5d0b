"""Elementwise parameters: biases, gains, positions, gates, wherever they meet the examples by broadcasting."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from batchscope.gradients.rules.lazy_gradients import Dense
from batchscope.gradients.rules.rule import Uses, rule

Operand = Tensor | float


def reduce_to(grad: Tensor, parameter: Tensor) -> Tensor:
    """Sum [N, *broadcast shape] over the axes along which `parameter` was broadcast: [N, *parameter's shape]."""
    missing = grad.ndim - 1 - parameter.ndim
    sizes = grad.shape[1 + missing :]
    axes = [1 + axis for axis in range(missing)]
    axes += [1 + missing + axis for axis, size in enumerate(parameter.shape) if size == 1 and sizes[axis] != 1]
    return (grad.sum(axes, keepdim=True) if axes else grad).reshape(grad.shape[0], *parameter.shape)


@rule(torch.add, Tensor.add, Tensor.add_, Tensor.__radd__, examples=None, reads_inputs=False)
def add(grad: Tensor, input: Operand, other: Operand, *, alpha: float = 1) -> Uses:
    """y = input + α other; whichever operand is a parameter."""
    if isinstance(input, nn.Parameter):
        yield input, Dense(reduce_to(grad, input))
    if isinstance(other, nn.Parameter):
        yield other, Dense(reduce_to(grad * alpha if alpha != 1 else grad, other))


@rule(torch.sub, Tensor.sub, Tensor.sub_, examples=None, reads_inputs=False)
def sub(grad: Tensor, input: Operand, other: Operand, *, alpha: float = 1) -> Uses:
    """y = input - α other."""
    yield from add(grad, input, other, alpha=-alpha)


@rule(torch.rsub, Tensor.__rsub__, examples=None, reads_inputs=False)
def rsub(grad: Tensor, input: Operand, other: Operand) -> Uses:
    """y = other - input."""
    yield from add(grad, other, input, alpha=-1)


@rule(torch.mul, Tensor.mul, Tensor.__rmul__, examples=None)
def mul(grad: Tensor, input: Tensor, other: Tensor) -> Uses:
    """y = input ⊙ other."""
    for parameter, factor in ((input, other), (other, input)):
        if isinstance(parameter, nn.Parameter):
            yield parameter, Dense(reduce_to(grad * factor, parameter))
