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
from batchscope.gradients.subject.leaves import leaves_of
from batchscope.gradients.subject.torch_losses import TorchLoss

Loss = Callable[[Any, Any], Tensor]
Say = Callable[[str], None]

REMEDY = (
    'return one loss per example, for instance with reduction="none" '
    "(and, for one loss per token, reshaped to [examples, tokens])"
)


def _silent(note: str) -> None:
    pass


def unreduced(loss: Loss, say: Say = _silent) -> Loss:
    """The same loss without its mean or sum over examples; `loss` itself is not changed.

    nn losses are copied with reduction="none", functions of torch.nn.functional (also inside functools.partial) are
    called with it, after plain conversions (`TorchLoss`; `say` takes a note of each). Any other callable is returned as
    it is.
    """
    if isinstance(loss, nn.Module) and hasattr(loss, "reduction"):
        module: Any = copy.copy(loss)
        module.reduction = "none"
        return TorchLoss(module, type(loss).__name__, getattr(loss, "ignore_index", -100), say)
    if isinstance(loss, functools.partial) and _is_torch_loss(loss.func):
        keywords = {**loss.keywords, "reduction": "none"}
        function = functools.partial(loss.func, *loss.args, **keywords)
        return TorchLoss(function, loss.func.__name__, keywords.get("ignore_index", -100), say)
    if _is_torch_loss(loss):
        return TorchLoss(functools.partial(loss, **{"reduction": "none"}), loss.__name__, -100, say)
    return loss


def _is_torch_loss(function: object) -> bool:
    return (
        getattr(function, "__module__", None) == "torch.nn.functional"
        and inspect.isfunction(function)
        and "reduction" in inspect.signature(function).parameters
    )


def per_example_losses(loss: Loss, outputs: Any, targets: Any, num_examples: int, say: Say = _silent) -> Tensor:
    """loss(outputs, targets) as a tensor [N]; entries of a loss [N, ...] or [N T] are summed per example.

    loss: already unreduced. InputError for a scalar and for a first size that is no multiple of N.
    """
    losses = loss(outputs, targets)
    if not isinstance(losses, Tensor):
        raise InputError(
            f"the loss returned {type(losses).__name__}: expected a tensor of {num_examples} losses; {REMEDY}"
        )
    if losses.ndim == 0:
        raise InputError(
            f"the loss returned a single number for {num_examples} examples, already reduced; {REMEDY}. "
            'When the model computes its own loss: loss="model"'
        )
    size = losses.shape[0]
    if size != num_examples and (losses.ndim > 1 or not num_examples or size % num_examples or not size):
        raise InputError(
            f"the loss returned shape {tuple(losses.shape)} for {num_examples} examples: "
            f"expected [{num_examples}] or [{num_examples}, ...]; {REMEDY}"
        )
    if size != num_examples:
        say("the loss returned several values per example in one axis (flattened tokens): added up per example")
    return losses.reshape(num_examples, -1).sum(1) if losses.ndim > 1 or size != num_examples else losses


def own_loss(outputs: Any) -> Tensor:
    """The loss that a model computed itself: a single number, `.loss`, ["loss"], or the one number in a tuple."""
    held = outputs.get("loss") if isinstance(outputs, Mapping) else getattr(outputs, "loss", None)
    candidates = (
        [held] if isinstance(held, Tensor) else [leaf for leaf in leaves_of(outputs) if isinstance(leaf, Tensor)]
    )
    numbers = [tensor for tensor in candidates if tensor.numel() == 1 and tensor.is_floating_point()]
    if len(numbers) != 1:
        raise InputError(
            f'loss="model", but the model returned {type(outputs).__name__} with {len(numbers)} single numbers: '
            "expected its loss, alone, as `.loss`, or beside other outputs. Are the labels among the model's inputs?"
        )
    return numbers[0] if numbers[0].ndim == 0 else numbers[0].reshape(())


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
