"""The terms of a loss that a model computes itself.

The loss of a batch is one number, but the call that averaged it had the losses of all examples (or tokens). While the
model runs, torch's loss functions are called unreduced and averaged afterwards; where what the model returns is such an
average, each example's loss is the average over its own terms, which is what a batch of it alone would give. Whether
that is so is checked on single examples before it is believed.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from batchscope.gradients.tracing.calls import Function

OF_CLASSES = (F.cross_entropy, F.nll_loss)
OF_NUMBERS = (
    F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss, F.binary_cross_entropy, F.binary_cross_entropy_with_logits,
)  # fmt: skip


class NotRecoveredError(Exception):
    """What the model returned is not the average that was seen."""


@dataclass
class OwnLoss:
    """Watches the loss functions that a model calls; `rewrites` go into the mode under which it runs.

    _each: the last call's terms. _counts: what each weighs in the mean, None for a sum. _total: what the call returned.
    """

    _each: Tensor | None = None
    _counts: Tensor | None = None
    _total: Tensor | None = None

    @property
    def rewrites(self) -> Mapping[Function, Function]:
        """What to run in the place of each function."""
        return {function: functools.partial(self._call, function) for function in OF_CLASSES + OF_NUMBERS}

    def _call(self, function: Function, *args: Any, **kwargs: Any) -> Any:
        call = inspect.signature(function).bind(*args, **kwargs)
        call.apply_defaults()
        named = dict(call.arguments)
        reduction = named["reduction"]
        if reduction not in ("mean", "sum") or named.get("reduce") is not None or named.get("size_average") is not None:
            return NotImplemented
        if function in OF_NUMBERS and isinstance(named.get("weight"), Tensor) and function is F.mse_loss:
            return NotImplemented  # its mean is over the weights
        each = function(**{**named, "reduction": "none"})
        counts = _counts(function, named, each) if reduction == "mean" else None
        self._each, self._counts = each, counts
        self._total = each.sum() if counts is None else each.sum() / counts.sum()
        return self._total

    def losses(self, own: Tensor, num_examples: int) -> Tensor:
        """Per-example losses [N] of the forward pass that returned `own`."""
        each, counts, total = self._each, self._counts, self._total
        self._each = self._counts = self._total = None
        if each is None or own is not total or not each.ndim or each.shape[0] % num_examples:
            raise NotRecoveredError("the model's own loss is not the mean or the sum of one call of a loss of torch")
        sums = each.reshape(num_examples, -1).sum(1)
        return sums if counts is None else sums / counts.reshape(num_examples, -1).sum(1)


def _counts(function: Function, named: Mapping[str, Any], each: Tensor) -> Tensor:
    """What every term weighs in torch's mean, of the shape of `each`."""
    target: Tensor = named["target"]
    if function not in OF_CLASSES or target.is_floating_point():  # numbers, or probabilities of classes
        return torch.ones_like(each)
    counted: Tensor = (target != named["ignore_index"]).to(each.dtype)
    weight: Tensor | None = named["weight"]
    if weight is None:
        return counted
    of_rows: Tensor = weight[target * counted.long()]
    return of_rows.to(each.dtype) * counted
