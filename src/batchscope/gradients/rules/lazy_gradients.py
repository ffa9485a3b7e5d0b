"""Uses: the per-example gradients of one use of a parameter, not yet formed.

A rule says what a layer's backward pass leaves us with, as one of four records. Each can be formed densely for some
examples (`dense`), which defines it; kernels/ has the faster ways to the squared norms and the sum.

Shapes: N examples, T positions (tokens, pixels, time steps: whatever the parameter was applied to within an example).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor


class Use(Protocol):
    """Per-example gradients of one use of a parameter of shape `shape`."""

    @property
    def num_examples(self) -> int:
        """N."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the parameter."""

    @property
    def signature(self) -> tuple[object, ...]:
        """What the speed of kernels depends on: sizes, dtype, device."""
        ...

    def dense(self, rows: slice) -> Tensor:
        """The gradients of the examples `rows`, [n, *shape]."""
        ...


_BLOCK = 4096  # entries added up in one go: float32 sums of 2 million squares in one run are off by 1e-4


def row_norms(x: Tensor) -> Tensor:
    """Euclidean norms of the rows of [N, K]: [N]. Long rows by blocks; much faster than squaring and adding."""
    num_entries = x.shape[1]
    if num_entries < 2 * _BLOCK:
        norms: Tensor = torch.linalg.vector_norm(x, 2, 1)
        return norms
    if rest := num_entries % _BLOCK:
        return torch.hypot(row_norms(x[:, :-rest]), torch.linalg.vector_norm(x[:, -rest:], 2, 1))
    return row_norms(torch.linalg.vector_norm(x.reshape(len(x), -1, _BLOCK), 2, 2))


class Norms:
    """Euclidean norms of the rows of a tensor [N, ...], formed when first asked for and shared by several Uses."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor

    @cached_property
    def values(self) -> Tensor:
        """[N]."""
        return row_norms(self._tensor.reshape(len(self._tensor), math.prod(self._tensor.shape[1:])))

    @cached_property
    def squares(self) -> Tensor:
        """[N]."""
        return self.values.square()


@dataclass(frozen=True, eq=False)
class Factors:
    """gradient_i = sum_t left_it right_it', a matrix product over positions (Linear, matmul, unfolded convolution).

    left: [N, T, p]. right: [N, T, d]. Gradient of example i: [p, d], reshaped to `shape`.
    left_norms: those of `left`, where another Use shares them.
    """

    left: Tensor
    right: Tensor
    shape: tuple[int, ...]
    left_norms: Norms | None = None

    @property
    def num_examples(self) -> int:
        """N."""
        return self.left.shape[0]

    @property
    def signature(self) -> tuple[object, ...]:
        """See `Use`."""
        _, positions, rows = self.left.shape
        return ("factors", positions, rows, self.right.shape[2], self.left.dtype, self.left.device)

    def dense(self, rows: slice) -> Tensor:
        """sum_t left_it right_it' of the examples `rows`, [n, *shape]."""
        return torch.bmm(self.left[rows].mT, self.right[rows]).reshape(-1, *self.shape)


@dataclass(frozen=True, eq=False)
class LookedUpRows:
    """gradient_i = sum_t onehot(index_it) grads_it': rows of a table that were looked up (Embedding).

    index: int64 [N, T]. grads: [N, T, d], zero where the lookup must not count. shape: (number of rows, d).
    """

    index: Tensor
    grads: Tensor
    shape: tuple[int, ...]

    @property
    def num_examples(self) -> int:
        """N."""
        return self.index.shape[0]

    @property
    def signature(self) -> tuple[object, ...]:
        """See `Use`."""
        return ("rows", self.index.shape[1], *self.shape, self.grads.dtype, self.grads.device)

    def dense(self, rows: slice) -> Tensor:
        """The whole table for each of the examples `rows`, [n, *shape]."""
        index, grads = self.index[rows], self.grads[rows]
        table = grads.new_zeros(len(index), *self.shape)
        return table.scatter_add_(1, index.unsqueeze(-1).expand_as(grads), grads)


@dataclass(frozen=True, eq=False)
class Dense:
    """Per-example gradients that are small enough to be there already: biases, gains, elementwise parameters.

    grads: [N, *shape]. norms: those of `grads`, where another Use shares them.
    """

    grads: Tensor
    norms: Norms | None = None

    @property
    def num_examples(self) -> int:
        """N."""
        return self.grads.shape[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the parameter."""
        return tuple(self.grads.shape[1:])

    @property
    def signature(self) -> tuple[object, ...]:
        """See `Use`."""
        return ("dense", *self.shape, self.grads.dtype, self.grads.device)

    def dense(self, rows: slice) -> Tensor:
        """Those of the examples `rows`, [n, *shape]."""
        return self.grads[rows]


@dataclass(frozen=True, eq=False)
class Patches:
    """gradient_i = the weight gradient of a convolution of example i alone.

    grads: output gradients [N, p, *positions]. inputs: [N, C, *pixels], to be padded by `padding` zeros on both sides.
    shape: the weight's, [p, C/groups, *kernel].
    """

    grads: Tensor
    inputs: Tensor
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    @property
    def num_examples(self) -> int:
        """N."""
        return self.grads.shape[0]

    @property
    def signature(self) -> tuple[object, ...]:
        """See `Use`."""
        sizes = (*self.inputs.shape[1:], *self.grads.shape[1:], *self.shape)
        geometry = (self.stride, self.padding, self.dilation, self.groups)
        return ("patches", *sizes, *geometry, self.grads.dtype, self.grads.device)

    def dense(self, rows: slice) -> Tensor:
        """One backward pass per example of `rows`, [n, *shape]."""
        return torch.stack([self.weight_gradient(slice(i, i + 1)) for i in range(*rows.indices(self.num_examples))])

    def weight_gradient(self, rows: slice) -> Tensor:
        """The weight gradient summed over the examples `rows`, [*shape], by the library's own kernel."""
        grads, inputs = self.grads[rows], self.inputs[rows]
        weight = inputs.new_empty(()).expand(self.shape)  # only its shape is read
        zeros = [0] * len(self.stride)
        gradient: Tensor
        _, gradient, _ = torch.ops.aten.convolution_backward(
            grads, inputs, weight, None, self.stride, self.padding, self.dilation, False, zeros, self.groups,
            (False, True, False),
        )  # fmt: skip
        return gradient
