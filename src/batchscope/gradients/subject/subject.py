"""The subject of a measurement: a model, its loss and the choice for BatchNorm.

Everything that measuring, observing, probing and auditing ask of a model: losses of a batch, gradients by plain
autograd, what defines the measurement (`meaning`), and to be left as it was (`untouched`).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from batchscope.gradients.subject.batches import Batch, call
from batchscope.gradients.subject.batchnorm import FrozenStatistics, microbatch_norm
from batchscope.gradients.subject.losses import Loss, per_example_losses, unreduced
from batchscope.gradients.tracing.calls import Function, Interceptor


@dataclass(eq=False)
class Subject:
    """A model whose per-example gradients are asked for.

    loss: loss(outputs, targets) -> per-example losses; `sum_of_outputs` where there is none.
    batchnorm: the choice for BatchNorm, see batchnorm.py.
    """

    model: nn.Module
    loss: Loss
    batchnorm: str = "refuse"

    def __post_init__(self) -> None:
        self.loss = unreduced(self.loss)
        self._frozen = FrozenStatistics() if self.batchnorm == "frozen" else None

    @cached_property
    def parameters(self) -> dict[str, nn.Parameter]:
        """Name -> parameter, of those that require a gradient."""
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}

    @property
    def device(self) -> torch.device:
        """Of the parameters; of the CPU when there are none."""
        return next((p.device for p in self.model.parameters()), torch.device("cpu"))

    @property
    def meaning(self) -> Mapping[Function, Function]:
        """Rewrites that define what is measured (the choice for BatchNorm); the plain gradients run under them too."""
        if self._frozen is not None:
            return self._frozen.rewrites()
        return {F.batch_norm: microbatch_norm} if self.batchnorm == "microbatch" else {}

    def prepare(self, batch: Batch) -> None:
        """Fix what the whole batch decides: the statistics of batchnorm="frozen"."""
        if self._frozen is None:
            return
        self._frozen.record()
        with torch.no_grad(), Interceptor(self.meaning):
            call(self.model, batch.inputs)

    def losses(self, batch: Batch, mode: Interceptor | None = None) -> Tensor:
        """Per-example losses [N] of a forward pass under `mode` (default: only what defines the measurement)."""
        with mode if mode is not None else Interceptor(self.meaning):
            return per_example_losses(self.loss, self.outputs(batch), batch.targets, batch.num_examples)

    def outputs(self, batch: Batch) -> Any:
        """The model's outputs; to be called under a mode that holds `meaning`."""
        if self._frozen is not None:
            self._frozen.replay()
        return call(self.model, batch.inputs)

    def gradients_of_one(self, batch: Batch, i: int, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Example i's gradient, from a batch that holds it alone; zeros for parameters without influence."""
        return self.plain_gradients(batch.take(torch.tensor([i])), parameters)

    def plain_gradients(self, batch: Batch, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Autograd's gradient of the summed losses, in float32 at least."""
        losses = self.losses(batch)
        with torch.autocast(losses.device.type, enabled=False):
            grads = torch.autograd.grad(losses.sum(), list(parameters.values()), allow_unused=True)
        pairs = zip(parameters.items(), grads, strict=True)
        return {
            name: torch.zeros_like(p) if grad is None else grad.to(torch.promote_types(p.dtype, torch.float32))
            for (name, p), grad in pairs
        }


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Leave the model and the random states of torch, numpy and python as they were, also after an exception.

    Buffers (running statistics, power-iteration vectors), changed in place or bound anew, other attributes of modules
    and training flags are restored. `.grad` is never written.
    """
    attributes = [(module, dict(module.__dict__), dict(module._buffers)) for module in model.modules()]
    values = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    devices = [device] if device.type == "cuda" else []
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the user's generator is kept, not used
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002
        for module, own, buffers in attributes:
            _rebind(module.__dict__, own)
            _rebind(module._buffers, buffers)
        with torch.no_grad():
            for buffer, before in values:
                if not torch.equal(buffer, before):
                    buffer.copy_(before)


def _rebind(mapping: dict[str, Any], before: Mapping[str, Any]) -> None:
    """Give `mapping` the entries it had, in place."""
    for key in mapping.keys() - before.keys():
        del mapping[key]
    mapping.update(before)
