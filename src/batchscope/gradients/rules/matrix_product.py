"""Matrix products with a weight: F.linear, x @ W, addmm (also Hugging Face's Conv1D)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from batchscope.gradients.rules.elementwise import reduce_to
from batchscope.gradients.rules.lazy_gradients import Dense, Factors, Norms
from batchscope.gradients.rules.rule import Uses, as_positions, rule, sum_positions


@rule(F.linear, is_linear=True)
def linear(grad: Tensor, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Uses:
    """y_t = W x_t + b: dW = sum_t dy_t x_t', db = sum_t dy_t."""
    left = as_positions(grad)
    norms = Norms(left) if bias is not None and left.shape[1] == 1 else None  # then db has the same norms
    yield weight, Factors(left, as_positions(input), tuple(weight.shape), norms)
    if bias is not None:
        yield bias, Dense(sum_positions(left, bias.ndim), norms)


@rule(torch.matmul, torch.mm, Tensor.matmul, Tensor.mm, Tensor.__matmul__)
def matmul(grad: Tensor, input: Tensor, other: Tensor) -> Uses:
    """y = X W with W [d, p] the same for every example: dW = X' dY."""
    if other.ndim != 2:
        raise NotImplementedError
    yield other, Factors(as_positions(input), as_positions(grad), tuple(other.shape))


@rule(torch.addmm, Tensor.addmm, examples=(1, "mat1"))
def addmm(grad: Tensor, input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1) -> Uses:
    """y = β b + α X W with b broadcast over the rows of X."""
    yield mat2, Factors(as_positions(mat1), as_positions(grad * alpha if alpha != 1 else grad), tuple(mat2.shape))
    yield input, Dense(reduce_to(grad * beta if beta != 1 else grad, input))
