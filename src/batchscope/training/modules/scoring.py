"""The losses and metrics of modules' outputs: those of the paper, of tokens, and functions of the user's own.

`stacked/targets.py` says which of the paper's, and with what factors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from batchscope.errors import InputError
from batchscope.importing import import_object
from batchscope.own_code import check_source
from batchscope.training.settings import Settings

PerExample = Callable[[Tensor, Tensor], Tensor]


def per_example(outputs: Tensor, targets: Tensor) -> Tensor:
    """The loss of every example [B], in nats for classes.

    Cross-entropy of outputs [B, q] for targets [B] int64 (classes), or its mean over the T tokens of outputs [B, T, q]
    for targets [B, T] int64; half the square of the difference for targets [B, q] of floats.
    """
    if targets.is_floating_point():
        return (outputs - targets).square().sum(1) / 2
    if targets.dim() == 1:
        return F.cross_entropy(outputs, targets, reduction="none")
    return F.cross_entropy(outputs.transpose(1, 2), targets, reduction="none").mean(1)


def num_correct(outputs: Tensor, targets: Tensor) -> Tensor:
    """Correct answers among the outputs [B, q], or fractions of each example's tokens; float64, NaN where there are
    none: for regression, and for outputs that only a loss of the user's own understands."""
    if targets.is_floating_point() or outputs.dim() != targets.dim() + 1:
        return outputs.new_tensor(torch.nan, dtype=torch.float64)
    right = outputs.argmax(-1) == targets
    return right.sum(dtype=torch.float64) / targets[0].numel()


@dataclass(frozen=True)
class Criterion:
    """What a study trains on and looks at. loss, metric: (outputs, targets) -> [B]; metric None where there is none."""

    loss: PerExample = per_example
    metric: PerExample | None = None

    @classmethod
    def of(cls, settings: Settings) -> Criterion:
        """That of these settings. InputError when own code cannot be imported, or is not that of the settings."""
        loss = _own("loss", settings.loss, settings.loss_source)
        return cls(loss or per_example, _own("metric", settings.metric, settings.metric_source))

    def measured(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """[3] sums of loss, right answers and metric over the examples, float64."""
        loss = self.loss(outputs, targets).sum(dtype=torch.float64)
        metric = (
            loss.new_tensor(torch.nan) if self.metric is None else self.metric(outputs, targets).sum(dtype=loss.dtype)
        )
        return torch.stack((loss, num_correct(outputs, targets), metric))


def _own(what: str, name: str, source: str) -> PerExample | None:
    """The user's function, checked to return one number of each example whenever it is called."""
    if not name:
        return None
    if source:
        check_source(name, source, what)
    function = import_object(name, what)
    if not callable(function):
        raise InputError(f"{what} {name!r} is a {type(function).__name__}; expected a function of (outputs, targets)")

    def checked(outputs: Tensor, targets: Tensor) -> Tensor:
        numbers = function(outputs, targets)
        if not isinstance(numbers, Tensor) or numbers.shape != targets.shape[:1]:
            got = tuple(numbers.shape) if isinstance(numbers, Tensor) else type(numbers).__name__
            raise InputError(
                f"{what} {name!r} returned {got} for {len(targets)} examples; expected one number of each, "
                f"({len(targets)},): no mean and no sum over examples"
            )
        return numbers

    return checked
