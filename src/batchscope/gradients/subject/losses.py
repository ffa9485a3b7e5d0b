"""Per-example losses: what a user trains with, turned into one number per example.

Training averages; measuring needs the terms of the average. torch's own losses are re-run with `reduction="none"`, any
other callable must return one loss per example (or one per example and position, which are added up).
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from batchscope.errors import InputError
from batchscope.gradients.subject.batches import leaves_of

Loss = Callable[[Any, Any], Tensor]

REMEDY = (
    'return one loss per example, for instance with reduction="none" '
    "(and, for one loss per token, reshaped to [examples, tokens])"
)


def unreduced(loss: Loss) -> Loss:
    """The same loss without its mean or sum over examples; `loss` itself is not changed.

    nn losses are copied with reduction="none", functions of torch.nn.functional (also inside functools.partial) are
    called with it. Any other callable is returned as it is.
    """
    if isinstance(loss, nn.Module) and hasattr(loss, "reduction"):
        module: Any = copy.copy(loss)
        module.reduction = "none"
        return module  # type: ignore[no-any-return]
    if isinstance(loss, functools.partial) and _is_torch_loss(loss.func):
        return functools.partial(loss.func, *loss.args, **{**loss.keywords, "reduction": "none"})
    return functools.partial(loss, **{"reduction": "none"}) if _is_torch_loss(loss) else loss


def _is_torch_loss(function: object) -> bool:
    return (
        getattr(function, "__module__", None) == "torch.nn.functional"
        and inspect.isfunction(function)
        and "reduction" in inspect.signature(function).parameters
    )


def per_example_losses(loss: Loss, outputs: Any, targets: Any, num_examples: int) -> Tensor:
    """loss(outputs, targets) as a tensor [N]; entries of a loss [N, ...] are summed per example.

    loss: already unreduced. InputError for a scalar, for another first size than N, and for losses that carry no graph.
    """
    losses = loss(outputs, targets)
    if not isinstance(losses, Tensor):
        raise InputError(
            f"the loss returned {type(losses).__name__}: expected a tensor of {num_examples} losses; {REMEDY}"
        )
    if losses.ndim == 0:
        raise InputError(f"the loss returned a single number for {num_examples} examples, already reduced; {REMEDY}")
    if losses.shape[0] != num_examples:
        raise InputError(
            f"the loss returned shape {tuple(losses.shape)} for {num_examples} examples: "
            f"expected [{num_examples}] or [{num_examples}, ...]; {REMEDY}"
        )
    return losses.reshape(num_examples, -1).sum(1) if losses.ndim > 1 else losses


def sum_of_outputs(outputs: Any, targets: Tensor) -> Tensor:
    """Every floating-point output [N, ...] added up per example, [N]: a loss where the loop's own is not known.

    targets: any tensor [N]; it counts the examples. InputError when no output has an axis of examples first.
    """
    plain = dict(outputs) if isinstance(outputs, Mapping) else outputs  # Hugging Face's dataclasses
    tensors = [
        leaf.reshape(len(targets), -1).sum(1)
        for leaf in leaves_of(plain)
        if isinstance(leaf, Tensor) and leaf.is_floating_point() and leaf.ndim and len(leaf) == len(targets)
    ]
    if not tensors:
        raise InputError("the model returns no floating-point tensor with an axis of examples first: cannot observe it")
    return torch.stack(tensors).sum(0)
