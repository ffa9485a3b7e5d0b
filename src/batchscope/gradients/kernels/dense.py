"""Per-example gradients that are there already."""

from __future__ import annotations

from batchscope.gradients.kernels import Result, kernel, sq_norms
from batchscope.gradients.uses import Dense


@kernel(Dense, scratch=lambda use: use.grads[0].numel(), flops=lambda use: 3 * use.grads[0].numel())
def direct(use: Dense, chunk: int) -> Result:
    """Square and add."""
    return sq_norms(use.grads), use.grads.sum(0)
