"""BatchNorm in training mode couples the examples of a batch: one example's gradient is not defined without a choice.

"eval":       normalise by the running statistics, as at test time. The gradient is that of a well-defined loss.
"frozen":     normalise by the batch's own statistics, held constant: the training-mode forward pass, without the
              gradient that flows through mean and variance from one example to the others.
"microbatch": normalise every example by its own statistics over its positions, as a training step on a micro-batch of
              one example does.
Running statistics are never updated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from batchscope.errors import InputError, MeasurementError
from batchscope.gradients.tracing.calls import Function

CHOICES = ("refuse", "eval", "frozen", "microbatch")


def coupling_modules(model: nn.Module) -> dict[str, nn.Module]:
    """The BatchNorm modules that would use batch statistics: name -> module."""
    return {name: module for name, module in model.named_modules() if couples(module)}


def couples(module: nn.Module) -> bool:
    """Whether it is a BatchNorm that would use batch statistics."""
    return isinstance(module, _BatchNorm) and (module.training or module.running_mean is None)


def refuse(names: list[str]) -> MeasurementError:
    """The error that names the modules and the choices."""
    return MeasurementError(
        "BatchNorm in training mode couples the examples of a batch, so one example's gradient is not defined: "
        f"{', '.join(names)}. Expected a choice: batchnorm='eval' (running statistics), 'frozen' (the batch's "
        "statistics, held constant) or 'microbatch' (each example by its own statistics); or call model.eval() yourself"
    )


class FrozenStatistics:
    """Rewrites of F.batch_norm that normalise by statistics recorded on the whole batch beforehand.

    `record()` before the model runs on the whole batch; `replay()` before every other forward pass on its examples.
    """

    def __init__(self) -> None:
        self._statistics: list[tuple[Tensor, Tensor]] = []
        self._next = 0
        self._recording = False

    def record(self) -> None:
        """Before the forward pass on the whole batch."""
        self._statistics, self._next, self._recording = [], 0, True

    def replay(self) -> None:
        """Before every other forward pass on its examples."""
        self._next, self._recording = 0, False

    def rewrites(self) -> Mapping[Function, Function]:
        """What to run in the place of F.batch_norm."""
        return {F.batch_norm: by_batch_statistics(self._batch_norm)}

    def _batch_norm(self, input: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
        if self._recording:
            axes = [axis for axis in range(input.ndim) if axis != 1]
            dtype = input.dtype if weight is None else weight.dtype  # under autocast those of the input are halved
            variance, mean = torch.var_mean(input.detach().to(dtype), axes, correction=0)
            self._statistics.append((mean, variance))
        mean, variance = self._statistics[self._next]  # one entry per call: a module may be called several times
        self._next += 1
        return F.batch_norm(input, mean, variance, weight, bias, False, 0.0, eps)


def by_batch_statistics(normalise: Callable[[Tensor, Tensor | None, Tensor | None, float], Tensor]) -> Function:
    """Rewrite of F.batch_norm: normalise(input, weight, bias, eps) where it would use the batch's own statistics."""

    def batch_norm(
        input: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Any:
        return normalise(input, weight, bias, eps) if training else NotImplemented

    return batch_norm


@by_batch_statistics
def microbatch_norm(input: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Every example by its own statistics over its positions."""
    if input.ndim < 3:
        raise InputError(
            f"batchnorm='microbatch' on a BatchNorm of shape {list(input.shape)}: one example has a single position "
            "there and no variance; use batchnorm='frozen' or 'eval'"
        )
    return F.instance_norm(input, None, None, weight, bias, True, 0.0, eps)
