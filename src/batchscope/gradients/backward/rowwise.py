"""Linear layers that see one row per example: y_i = W x_i + b, so ‖dW_i‖ = ‖dy_i‖ ‖x_i‖ and ‖db_i‖ = ‖dy_i‖.

Two norms per row are all that is needed beyond the ordinary backward pass: of x, and of dy, for which autograd is asked
like for any gradient. The summed gradients are autograd's own, with respect to leaves that stand in for the parameters
in this one call. The parameters themselves stay cut off, so one that autograd reaches by another way is still noticed
(`capture.backward`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge

from batchscope.gradients.rules.lazy_gradients import row_norms


@dataclass(frozen=True, eq=False, slots=True)
class RowwiseCall:
    """One call of F.linear. names: of weight and, when there is one, bias. leaves: what stands in for them.

    output: the place of y in the graph, also where y is changed later. input_norms: ‖x_i‖ [N].
    """

    names: tuple[str, ...]
    leaves: tuple[Tensor, ...]
    output: GradientEdge
    input_norms: Tensor


def call_rowwise(names: tuple[str, ...], x: Tensor, leaves: tuple[Tensor, ...]) -> tuple[Tensor, RowwiseCall]:
    """The output of F.linear(x, *leaves) and the record of the call."""
    output = F.linear(x, *leaves)
    return output, RowwiseCall(names, leaves, get_gradient_edge(output), row_norms(x.detach()))


def results_of(
    calls: Sequence[RowwiseCall], output_grads: Sequence[Tensor | None], leaf_grads: Sequence[Tensor | None]
) -> Iterator[tuple[str, Tensor, Any]]:
    """(parameter, squared norms [N], summed gradient) for the calls that the backward pass has reached.

    output_grads: dy of every call. leaf_grads: of all leaves, in the order of the calls.
    """
    names = [name for call in calls for name in call.names]
    sums = dict(zip(names, leaf_grads, strict=True))
    reached = [(call, grad) for call, grad in zip(calls, output_grads, strict=True) if grad is not None]
    if not reached:
        return
    of_bias = torch.stack([row_norms(grad) for _, grad in reached])  # few operations for all calls
    of_weight = torch.stack([call.input_norms for call, _ in reached]).mul_(of_bias).square_()
    for (call, _), *norms in zip(reached, of_weight.unbind(), of_bias.square_().unbind(), strict=True):
        for name, values in zip(call.names, norms, strict=False):
            yield name, values, sums[name]
