"""Linear layers that see one row per example: y_i = W x_i + b, so ‖dW_i‖ = ‖dy_i‖ ‖x_i‖ and ‖db_i‖ = ‖dy_i‖.

Two norms per row are all that is needed beyond the ordinary backward pass: of x, and of dy in a hook. The summed
gradients are autograd's own, with respect to leaves that stand in for the parameters in this one call. The parameters
themselves stay cut off, so one that autograd reaches by another way is still noticed (`capture.backward`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from batchscope.gradients.calls import changed_in_place
from batchscope.gradients.uses import row_norms


@dataclass(eq=False, slots=True)
class RowwiseCall:
    """One call of F.linear. names: of weight and, when there is one, bias. leaves: what stands in for them.

    input, version: x [N, d] until it has been read, and how often it had been changed in place.
    norms: ‖x_i‖ and ‖dy_i‖, [N] each; None before the backward pass has reached the call.
    """

    names: tuple[str, ...]
    leaves: tuple[Tensor, ...]
    input: Tensor | None
    version: int
    norms: tuple[Tensor, Tensor] | None = None

    def on_gradient(self, grad: Tensor) -> None:
        assert self.input is not None
        if self.input._version != self.version:
            raise changed_in_place(F.linear, self.names)
        self.norms = row_norms(self.input), row_norms(grad)
        self.input = None  # free what the backward pass has read


def call_rowwise(names: tuple[str, ...], x: Tensor, parameters: Sequence[Tensor]) -> tuple[Tensor, RowwiseCall]:
    """The output of F.linear(x, *parameters), with leaves in place of the parameters, and the record of the call."""
    leaves = tuple(parameter.detach().requires_grad_() for parameter in parameters)
    return F.linear(x, *leaves), RowwiseCall(names, leaves, x, x._version)


def sq_norms_of(calls: Iterable[RowwiseCall]) -> Iterator[tuple[str, Tensor]]:
    """(parameter, squared norms [N]) for all calls that the backward pass has reached, in few operations for all."""
    reached = [(call.names, call.norms) for call in calls if call.norms is not None]
    if not reached:
        return
    of_bias = torch.stack([norms[1] for _, norms in reached])
    of_weight = torch.stack([norms[0] for _, norms in reached]).mul_(of_bias).square_()
    of_bias.square_()
    for (names, _), *values in zip(reached, of_weight.unbind(), of_bias.unbind(), strict=True):
        yield from zip(names, values, strict=False)
