"""Linear layers that see one row per example, inside the loop's own passes: ‖dW_i‖ = ‖dy_i‖ ‖x_i‖ and ‖db_i‖ = ‖dy_i‖.

Two norms per row and one hook are all that such a call needs (see `backward.rowwise` for the measuring pass); of small
networks the bookkeeping of a general call would cost more than the step itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from batchscope.gradients.rules.lazy_gradients import row_norms
from batchscope.gradients.tracing.trace import Event


@dataclass(eq=False, slots=True)
class LinearRow:
    """A call of F.linear that awaits its output gradient. names: of weight and, when there is one, bias.

    x: its input, until then. with_sums: whether the summed gradients are wanted too. norms: (‖dy_i‖, ‖x_i‖), each [N].
    sums: of weight and bias. times: how often a gradient came.
    """

    names: tuple[str, ...]
    x: Tensor | None
    version: int
    with_sums: bool
    norms: tuple[Tensor, Tensor] | None = None
    sums: tuple[Tensor, Tensor] | None = None
    times: int = 0

    def receive(self, grad: Tensor) -> bool:
        """Form the norms; False where that is not possible: x was changed, a second gradient, one with a graph."""
        x, self.x, self.times = self.x, None, self.times + 1
        if x is None or x._version != self.version or torch.is_grad_enabled():
            return False
        self.norms = row_norms(grad), row_norms(x)
        if self.with_sums:
            self.sums = grad.t() @ x, grad.sum(0)
        return True


def linear_row(
    event: Event,
    args: tuple[Any, ...],
    output: Tensor,
    names: Mapping[int, str],
    num_examples: int,
    with_sums: bool,
) -> LinearRow | None:
    """The record of a call F.linear(*args), None where it is not an ordinary one on a row per example.

    names: id of a parameter -> its name. with_sums: see LinearRow.
    """
    if not event.is_rowwise:
        return None
    x, parameters = args[0], [p for p in args[1:] if p is not None]
    if x.ndim != 2 or len(x) != num_examples or output.dtype != x.dtype or x.dtype.itemsize < 4 or x.is_complex():
        return None
    if any(id(p) not in names for p in parameters):
        return None
    return LinearRow(tuple(names[id(p)] for p in parameters), x, x._version, with_sums)


@dataclass(frozen=True, eq=False)
class RowSquares:
    """Squared norms of the calls that a gradient has reached, [calls, N]: of weights and, as if all had one, biases."""

    calls: list[LinearRow]
    of_weights: Tensor
    of_biases: Tensor

    @classmethod
    def of(cls, calls: list[LinearRow]) -> RowSquares | None:
        """None where no gradient has reached any."""
        reached = [(call, *call.norms) for call in calls if call.norms is not None]
        if not reached:
            return None
        of_bias = torch.stack([of_output for _, of_output, _ in reached])  # few operations for all calls
        of_weight = torch.stack([of_input for _, _, of_input in reached]).mul_(of_bias).square_()
        return cls([call for call, *_ in reached], of_weight, of_bias.square_())

    def results(self) -> Iterator[tuple[str, Tensor, Tensor]]:
        """(parameter, squared norms [N], summed gradient or an empty tensor)."""
        none = self.of_biases.new_empty(0)
        for call, *squares in zip(self.calls, self.of_weights.unbind(), self.of_biases.unbind(), strict=True):
            yield from zip(call.names, squares, call.sums or (none, none), strict=False)

    def sums(self) -> tuple[tuple[str, ...], Tensor]:
        """(parameters, S1 of each, float64)."""
        names = [call.names[0] for call in self.calls] + [call.names[1] for call in self.calls if len(call.names) > 1]
        with_bias = [place for place, call in enumerate(self.calls) if len(call.names) > 1]
        biases = self.of_biases if len(with_bias) == len(self.calls) else self.of_biases[with_bias]
        return tuple(names), torch.cat([self.of_weights, biases]).sum(1, dtype=torch.float64)
