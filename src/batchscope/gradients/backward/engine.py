"""The engine: one batch in, per parameter the squared norm of every example's gradient and the summed gradient out.

Ways, fastest first: the trace and its rules (`capture`); a loop over examples for parameters that escaped it; and where
that fails, NaN, which makes every total that needs the parameter NaN.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from batchscope.gradients.backward.capture import Capture, TraceMismatchError, backward
from batchscope.gradients.backward.collect import UNAVAILABLE, Collector, Measured, Result
from batchscope.gradients.backward.planner import Planner
from batchscope.gradients.rules import REWRITES
from batchscope.gradients.subject.batches import Batch, call
from batchscope.gradients.subject.batchnorm import FrozenStatistics, microbatch_norm
from batchscope.gradients.subject.losses import Loss, per_example_losses, unreduced
from batchscope.gradients.tracing.calls import Function, Interceptor
from batchscope.gradients.tracing.probe import probe
from batchscope.gradients.tracing.trace import Trace


@dataclass(eq=False)
class Engine:
    """Measures batches of one model and loss.

    parameters: those that require a gradient, by name. frozen: statistics of batchnorm="frozen". trace: of the last
    batch whose calls differed from the batch before; None: not yet traced, or not traceable.
    """

    model: nn.Module
    loss: Loss
    planner: Planner = field(default_factory=Planner)
    batchnorm: str = "refuse"
    trace: Trace | None = None

    def __post_init__(self) -> None:
        self.loss = unreduced(self.loss)
        self.parameters = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        self._stand_ins: dict[str, Tensor] = {}
        self._frozen = FrozenStatistics() if self.batchnorm == "frozen" else None

    @property
    def meaning(self) -> Mapping[Function, Function]:
        """Rewrites that define what is measured (the choice for BatchNorm); the oracle runs under them too."""
        if self._frozen is not None:
            return self._frozen.rewrites()
        return {F.batch_norm: microbatch_norm} if self.batchnorm == "microbatch" else {}

    def losses(self, batch: Batch, mode: Interceptor | None = None) -> Tensor:
        """Per-example losses [N] of a forward pass under `mode` (default: only what defines the measurement)."""
        with mode if mode is not None else Interceptor(self.meaning):
            return per_example_losses(self.loss, self.outputs(batch), batch.targets, batch.num_examples)

    def outputs(self, batch: Batch) -> Any:
        """The model's outputs; to be called under a mode that holds `meaning`."""
        if self._frozen is not None:
            self._frozen.replay()
        return call(self.model, batch.inputs)

    def prepare(self, batch: Batch) -> None:
        """Fix what the whole batch decides: the statistics of batchnorm="frozen"."""
        if self._frozen is None:
            return
        self._frozen.record()
        with torch.no_grad(), Interceptor(self.meaning):
            call(self.model, batch.inputs)

    def measure(self, batch: Batch) -> dict[str, Result]:
        """Every parameter's Result on a prepared batch of at least one example."""
        if batch.num_examples == 1:
            return self.loop(batch, self.parameters, "one example: plain backward pass")
        for attempt in range(2):
            if self.trace is None or attempt:
                self.trace = probe(self, batch).trace
            if self.trace is None:
                break
            try:
                return self._capture(batch, self.trace)
            except TraceMismatchError:
                continue
        return self.loop(batch, self.parameters, "per-example loop: the calls depend on the number of examples")

    def _capture(self, batch: Batch, trace: Trace) -> dict[str, Result]:
        collector = Collector(self.parameters, self.planner, batch.num_examples)
        rewrites = {**REWRITES, **self.meaning}
        mode = Capture(
            self.parameters, trace, rewrites, batch.num_examples, collector.receive, stand_ins=self._stand_ins
        )
        collector.meetings_of = mode.meetings_of
        losses = self.losses(batch, mode)
        missed, rowwise = backward(losses, mode, self.parameters)
        with torch.no_grad():
            collector.finish()
            collector.add_rowwise(rowwise)
        results = {name: result for name, result in collector.results.items() if name not in missed}
        if missed:
            results |= self.loop(batch, {name: self.parameters[name] for name in missed}, "per-example loop")
        return self._with_unused(results, batch.num_examples)

    def _with_unused(self, results: dict[str, Result], num_examples: int) -> dict[str, Result]:
        """Parameters the losses do not depend on have zero gradients; names in the model's order."""
        return {
            name: results[name] if name in results else _zero(p, num_examples) for name, p in self.parameters.items()
        }

    def loop(self, batch: Batch, parameters: Mapping[str, Tensor], reason: str) -> dict[str, Result]:
        """The slow truth for some parameters: a backward pass per example."""
        try:
            rows = [self.gradients_of_one(batch, i, parameters) for i in range(batch.num_examples)]
        except Exception as error:
            if len(parameters) == len(self.parameters):
                raise  # nothing could be measured: the model's own error says most
            return {name: _unavailable(p, batch.num_examples, error) for name, p in parameters.items()}
        measured = Measured((reason,), "loop" if batch.num_examples > 1 else "plain")
        results = {}
        for name in parameters:
            norms = torch.stack([(row[name] * row[name]).sum() for row in rows])
            results[name] = Result(norms, torch.stack([row[name] for row in rows]).sum(0), measured)
        return results

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


def _zero(parameter: Tensor, num_examples: int) -> Result:
    zeros = torch.zeros_like(parameter)
    return Result(zeros.new_zeros(num_examples), zeros, Measured(("not used by the loss",), "none"))


def _unavailable(parameter: Tensor, num_examples: int, error: Exception) -> Result:
    """NaN, so that no total can silently be smaller than it is."""
    nans = torch.full_like(parameter, math.nan)
    why = f"no rule, and the model fails on a batch of one ({type(error).__name__}: {error})"
    return Result(nans.new_full((num_examples,), math.nan), nans, Measured((why,), UNAVAILABLE))


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Leave the model, the random state and .grad as they were, also after an exception.

    Buffers (running statistics, power-iteration vectors) are restored, and training flags.
    """
    buffers = [(buffer, buffer.detach().clone(), buffer._version) for buffer in model.buffers()]
    flags = [(module, module.training) for module in model.modules()]
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    devices = [device] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        for module, training in flags:
            module.training = training
        with torch.no_grad():
            for buffer, before, version in buffers:
                if buffer._version != version:
                    buffer.copy_(before)
