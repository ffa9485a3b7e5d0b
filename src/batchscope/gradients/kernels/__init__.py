"""Kernels: ways from a Use to (squared norm per example, gradient summed over examples).

Each kernel is one function for one kind of Use. No formula predicts which is fastest (measured: the winner changes
between neighbouring layers of one network), so the planner times those that apply and fit the memory, once per shape.

Shapes: N examples, T positions, weight p x d. "chunk": examples whose scratch memory fits the budget together.
"""

from __future__ import annotations

from batchscope.gradients.kernels import convolution as convolution
from batchscope.gradients.kernels import dense as dense
from batchscope.gradients.kernels import embedding as embedding
from batchscope.gradients.kernels import product as product
from batchscope.gradients.kernels.kernel import KERNELS, Kernel, Result, chunks, sq_norms
from batchscope.gradients.rules.lazy_gradients import Use

__all__ = ["KERNELS", "Kernel", "Result", "candidates", "chunks", "sq_norms"]


def candidates(use: Use) -> list[Kernel]:
    """The kernels that can treat `use`."""
    return [kernel for kernel in KERNELS[type(use)] if kernel.applies(use)]
