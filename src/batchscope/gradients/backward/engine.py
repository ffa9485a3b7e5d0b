"""The engine: one batch in, per parameter the squared norm of every example's gradient and the summed gradient out.

Ways, fastest first: the trace and its rules (`capture`); a loop over examples for parameters that escaped it; and where
that fails, NaN, which makes every total that needs the parameter NaN.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from batchscope.gradients.backward.capture import Capture, TraceMismatchError, backward
from batchscope.gradients.backward.collect import UNAVAILABLE, Collector, Measured, Result
from batchscope.gradients.backward.planner import Planner
from batchscope.gradients.rules import REWRITES
from batchscope.gradients.subject.batches import Batch
from batchscope.gradients.subject.subject import Subject
from batchscope.gradients.tracing.probe import probe
from batchscope.gradients.tracing.trace import Trace


@dataclass(eq=False)
class Engine:
    """Measures batches of a subject. trace: of the last batch whose calls differed from the batch before; None: not yet
    traced, or not traceable."""

    subject: Subject
    planner: Planner = field(default_factory=Planner)
    trace: Trace | None = None
    _stand_ins: dict[str, Tensor] = field(default_factory=dict)

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        return self.subject.parameters

    def measure(self, batch: Batch) -> dict[str, Result]:
        """Every parameter's Result on a prepared batch of at least one example."""
        if batch.num_examples == 1:
            return self.loop(batch, self.parameters, "one example: plain backward pass")
        for attempt in range(2):
            if self.trace is None or attempt:
                self.trace = probe(self.subject, batch).trace
            if self.trace is None:
                break
            try:
                return self._capture(batch, self.trace)
            except TraceMismatchError:
                continue
        return self.loop(batch, self.parameters, "per-example loop: the calls depend on the number of examples")

    def _capture(self, batch: Batch, trace: Trace) -> dict[str, Result]:
        collector = Collector(self.parameters, self.planner, batch.num_examples)
        rewrites = {**REWRITES, **self.subject.meaning}
        mode = Capture(
            self.parameters, trace, rewrites, batch.num_examples, collector.receive, stand_ins=self._stand_ins
        )
        collector.meetings_of = mode.meetings_of
        losses = self.subject.losses(batch, mode)
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
            rows = [self.subject.gradients_of_one(batch, i, parameters) for i in range(batch.num_examples)]
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


def _zero(parameter: Tensor, num_examples: int) -> Result:
    zeros = torch.zeros_like(parameter)
    return Result(zeros.new_zeros(num_examples), zeros, Measured(("not used by the loss",), "none"))


def _unavailable(parameter: Tensor, num_examples: int, error: Exception) -> Result:
    """NaN, so that no total can silently be smaller than it is."""
    nans = torch.full_like(parameter, math.nan)
    why = f"no rule, and the model fails on a batch of one ({type(error).__name__}: {error})"
    return Result(nans.new_full((num_examples,), math.nan), nans, Measured((why,), UNAVAILABLE))
