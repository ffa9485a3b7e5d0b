"""A measurement in progress: the choices of `measure`, the checks of the first batch, and results of every batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import nn

from batchscope.errors import BatchscopeError, InputError, MeasurementError, choose
from batchscope.gradients.backward.collect import Result
from batchscope.gradients.backward.examples import Examples, measure_examples
from batchscope.gradients.backward.measurer import Measurer
from batchscope.gradients.backward.planner import DEFAULT_MEMORY_BUDGET, Planner
from batchscope.gradients.subject import batchnorm as batchnorm_choices
from batchscope.gradients.subject.admission import admit, unwrap
from batchscope.gradients.subject.batches import (
    Batch,
    make_batch,
)
from batchscope.gradients.subject.failures import refuse_out_of_memory
from batchscope.gradients.subject.losses import Loss
from batchscope.gradients.subject.subject import Subject
from batchscope.gradients.tracing.probe import PROBED, Probe, coupling_error, probe, random_calls
from batchscope.gradients.tracing.reading import InputReader

DROPOUT_CHOICES = ("refuse", "eval", "sample")
MODEL_LOSS = "model"
RECOVERED = 1e-3  # relative, on losses: what is recovered from a batch against single examples, in any precision


@dataclass(frozen=True)
class MeasureOptions:
    """How to measure; the keyword arguments of `measure`.

    batchnorm: "refuse", "eval", "frozen" or "microbatch" (see batchnorm.py). dropout: "refuse", "eval" (everything that
    is random in training mode is switched off) or "sample" (gradients of one random draw; not audited).
    audit: check the first batch, shapes not seen before and a few random later batches against plain autograd.
    memory_budget: bytes of scratch memory. examples: function from a batch (inputs, targets) to its single examples,
    each (inputs, targets) again; for data whose first axis does not count examples.
    """

    batchnorm: str = "refuse"
    dropout: str = "refuse"
    audit: bool = True
    memory_budget: int = DEFAULT_MEMORY_BUDGET
    examples: Examples | None = None

    def __post_init__(self) -> None:
        choose("batchnorm choice", self.batchnorm, batchnorm_choices.CHOICES)
        choose("dropout choice", self.dropout, DROPOUT_CHOICES)
        if self.memory_budget <= 0:
            raise InputError(f"memory_budget={self.memory_budget}: expected a positive number of bytes")
        if self.examples is not None and not callable(self.examples):
            raise InputError(f"examples={self.examples!r}: expected a function from a batch to its single examples")


@dataclass(eq=False)
class Measurement:
    """A measurement in progress: checks the first batch, then turns batches into Results."""

    model: nn.Module
    loss: Loss | str
    options: MeasureOptions
    _checked: bool = False
    _has_run: bool = False

    def __post_init__(self) -> None:
        model = unwrap(self.model)
        admit(model)
        if isinstance(self.loss, str) and self.loss != MODEL_LOSS:
            raise InputError(f"loss={self.loss!r}: expected a function or module, or {MODEL_LOSS!r}")
        self.subject = Subject(model, self.loss, self.options.batchnorm)
        if not self.subject.parameters:
            raise InputError("the model has no parameter that requires a gradient: nothing to measure")
        audited = self.options.audit and self.options.dropout != "sample"
        self.measurer = Measurer(self.subject, Planner(self.options.memory_budget), audited)
        self.inputs = InputReader(self.subject)
        self.device = next(iter(self.subject.parameters.values())).device
        if self.loss == MODEL_LOSS:
            self.measurer.given_up = "the model's own loss, of one example at a time"

    @property
    def notes(self) -> list[str]:
        """What a reader of the result should know."""
        return self.subject.notes

    @contextmanager
    def running(self) -> Iterator[None]:
        """Within this context the model is set up as the options say; afterwards it is as it was."""
        with self.subject.running():
            _set_modes(self.subject.model, self.options)
            yield

    def batch_of(self, inputs: Any, targets: Any) -> Batch:
        """A batch on the model's device; arrays of floating-point numbers in the parameters' dtype."""
        is_counted = self.options.examples is None
        return self.inputs.read(make_batch(inputs, targets, self.device, is_counted), inputs, is_counted)

    def results(self, batch: Batch) -> dict[str, Result]:
        """Parameter name -> Result of one batch of at least one example."""
        if self.options.examples is not None:
            return measure_examples(self.measurer, batch, self.options.examples)
        self.subject.prepare(batch)
        if not self._checked and batch.num_examples > 1:
            batch = self._check(batch)
            self._checked = True
        results = self.measurer.measure(batch)
        if not self._has_run:
            self._refuse_new_parameters()
            self._has_run = True
        return results

    def _refuse_new_parameters(self) -> None:
        for name, parameter in self.subject.model.named_parameters():
            if parameter.requires_grad and name not in self.subject.parameters:
                raise InputError(
                    f"the model made {name!r} in its forward pass: run it once on a batch, so that it has all its "
                    "parameters, then measure it"
                )

    def _check(self, batch: Batch) -> Batch:
        """Probe the first batch: the batch, with inputs converted where the model needs it."""
        if self.loss == MODEL_LOSS and self.subject.recover(batch.head(PROBED), RECOVERED):
            self.measurer.given_up = ""
        try:
            found = probe(self.subject, batch)
        except Exception as error:
            refuse_out_of_memory(error)
            if isinstance(error, BatchscopeError):
                raise
            other = self.inputs.converted(batch)
            # without one the measurer's ladder goes on, and has the words if all fails
            return batch if other is batch else self._check(other)
        if not found.is_deterministic:
            self._random(self.subject.model, batch)
        if found.coupled_examples():
            raise coupling_error(self.subject, batch)
        if self.loss == MODEL_LOSS:
            self._compare_with_mean(batch.head(len(found.losses)), found)
        else:
            self.subject.settle_copies(batch, found.losses, found.tolerance)
        if found.trace is not None:
            self.measurer.traces = [found.trace]
        return batch

    def _compare_with_mean(self, batch: Batch, found: Probe) -> None:
        own = float(self.subject.raw_loss(batch).detach())
        mean = float(found.losses.mean())
        if abs(own - mean) > found.tolerance:
            self.subject.say(
                f"the model's own loss of a batch ({own:.6g}) is not the mean of its examples' ({mean:.6g}), for "
                "instance "
                "because it is a mean over tokens: each example counts here with its own loss, all alike"
            )

    def _random(self, model: nn.Module, batch: Batch) -> None:
        names = [n for n, m in model.named_modules() if m.training and "dropout" in type(m).__name__.lower()]
        called = [] if names else random_calls(self.subject, batch)
        where = f" (in training mode: {', '.join(names)})" if names else ""
        where = f" (it calls {', '.join(called)})" if called else where
        if self.options.dropout != "sample":
            raise MeasurementError(
                f"two forward passes on the same examples gave different losses{where}: the measurement would change "
                "from run to run. Expected a deterministic model, or a choice: dropout='eval' (switch it off) or "
                "'sample' (gradients of one random draw)"
            )
        self.subject.say(f"random forward pass{where}: gradients of one draw, not audited")


def _set_modes(model: nn.Module, options: MeasureOptions) -> None:
    coupling = batchnorm_choices.coupling_modules(model)
    if coupling and options.batchnorm == "refuse":
        raise batchnorm_choices.refuse(list(coupling))
    for module in model.modules():
        is_batchnorm = isinstance(module, nn.modules.batchnorm._BatchNorm)
        if (options.batchnorm if is_batchnorm else options.dropout) == "eval":
            module.training = False
