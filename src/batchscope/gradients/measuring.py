"""`measure`: gradient diversity of any model on any data, exact and audited. `per_example_sq_norms`: the raw norms."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from batchscope.errors import InputError, MeasurementError
from batchscope.gradients.backward.collect import Measured, Result
from batchscope.gradients.backward.examples import Examples
from batchscope.gradients.backward.measurer import UnauditedError
from batchscope.gradients.backward.planner import DEFAULT_MEMORY_BUDGET
from batchscope.gradients.estimands import ratio
from batchscope.gradients.measurement import MODEL_LOSS, Measurement, MeasureOptions
from batchscope.gradients.moments import MOST_GROUPS, MomentsAccumulator, groups_within
from batchscope.gradients.report import Coverage, Plan, Report
from batchscope.gradients.subject.batches import (
    DEFAULT_BATCH_SIZE,
    is_changing,
    is_pair_of_arrays,
    num_examples_in,
    pairs_of,
)
from batchscope.gradients.subject.losses import Loss

JACKKNIFE_MEMORY = 2**30  # bytes for the summed gradients of the groups that give an interval


def measure(
    model: nn.Module,
    loss: Loss | str,
    data: Any,
    *,
    population: float | None = None,
    batch_size: int | None = None,
    batchnorm: str = "refuse",
    dropout: str = "refuse",
    audit: bool = True,
    memory_budget: int = DEFAULT_MEMORY_BUDGET,
    examples: Examples | None = None,
) -> Report:
    """Gradient diversity Δ = S1/Q of `model` on `data`, per parameter, per module and in total.

    S1 = sum_i ‖g_i‖² and Q = ‖sum_i g_i‖², g_i the gradient of example i's own loss, never divided by a batch size
    (Yin et al. 2018; Definition 1 of Chen et al. 2018). Exact up to rounding; accumulated in float64. The model, its
    gradients and the random states of torch, numpy and python are left as they were.

    model: any module; its parameters that require a gradient are measured. A complex number counts as two reals.
    loss: loss(outputs, targets) -> per-example losses [N] (or [N, ...], summed per example); torch's own losses are
        accepted as they are and un-reduced. "model": the model computes its loss itself (from labels among its inputs).
    data: iterable of batches (inputs, targets), a pair of tensors or arrays, or a torch Dataset. The first axis counts
        examples. inputs: a tensor, a tuple of the model's arguments or a dict of its keyword arguments. A batch may be
        a dict that holds the targets as "labels" (or "label", "targets", "target", "y").
    population: number of examples (or math.inf) of which `data` is a random sample; gives `report.interval`.
    batch_size: examples per batch when `data` is whole tensors; the result does not depend on it.
    batchnorm, dropout, audit, memory_budget, examples: see `MeasureOptions`.

    InputError: unusable model, loss or data. MeasurementError: coupled examples, a random forward pass, a model that
    does not run, or a result that could not be confirmed.
    """
    options = MeasureOptions(batchnorm, dropout, audit, memory_budget, examples)
    measurement = Measurement(model, loss, options)
    try:
        return _measure(measurement, data, population, batch_size)
    except UnauditedError as error:
        if iter(data) is data:
            raise MeasurementError(f"{error}. Measure again with smaller batches, or a list of batches") from error
        reason = str(error)
    measurement = Measurement(model, loss, options)  # from the beginning, trusting no trace
    measurement.measurer.give_up(reason)
    return _measure(measurement, data, population, batch_size)


def _measure(measurement: Measurement, data: Any, population: float | None, batch_size: int | None) -> Report:
    measurer, subject = measurement.measurer, measurement.subject
    groups = 0
    if population is not None:
        groups = groups_within(JACKKNIFE_MEMORY, sum(p.numel() for p in subject.parameters.values()))
        batch_size = batch_size or _spread_over_groups(data)
    accumulator, coverage, norms = MomentsAccumulator(groups), Coverage.start(subject.model), NormSums()
    measurer.expected = num_examples_in(data)
    with measurement.running():
        if is_changing(data):
            subject.say("the data changes from one reading to the next: gradients of one draw of it")
        for inputs, targets in pairs_of(data, batch_size, whole=measurement.loss == MODEL_LOSS):
            batch = measurement.batch_of(inputs, targets)
            results = measurement.results(batch) if batch.num_examples else _nothing(subject.parameters)
            coverage.add(results)
            by_example = torch.stack([result.sq_norms.double() for result in results.values()])
            norms.add(by_example.sum(0))
            accumulator.add(
                by_example.shape[1],
                dict(zip(results, by_example.sum(1).unbind(), strict=True)),
                {name: result.grad_sum for name, result in results.items()},
            )
            measurer.expected -= by_example.shape[1]
            del results  # before the next batch needs its memory
    if coverage.num_batches == 0:
        raise _no_batch(data)
    plan = Plan(tuple(measurer.planner.choices.values()), tuple(measurer.costs))
    moments = accumulator.finish()
    if not moments.num_examples:
        subject.say("the data held no example: all numbers are missing")
    notes = tuple(subject.notes)
    return Report.of(subject.model, moments, coverage, plan, population, notes, norms.effective_examples)


def _no_batch(data: Any) -> InputError:
    if iter(data) is data:
        return InputError(
            "data is an iterator that is exhausted (or empty): expected at least one batch (inputs, targets); give the "
            "list or the DataLoader itself, or a fresh iterator"
        )
    return InputError("data held no batch at all: expected at least one (inputs, targets)")


def per_example_sq_norms(
    model: nn.Module,
    loss: Loss | str,
    inputs: Any,
    targets: Any,
    *,
    batchnorm: str = "refuse",
    dropout: str = "refuse",
    audit: bool = True,
    memory_budget: int = DEFAULT_MEMORY_BUDGET,
    examples: Examples | None = None,
) -> Tensor:
    """‖g_i‖² of every example, [N], float32 or better; arguments and errors as for `measure`."""
    measurement = Measurement(model, loss, MeasureOptions(batchnorm, dropout, audit, memory_budget, examples))
    batch = measurement.batch_of(inputs, targets)
    if not batch.num_examples:
        return torch.zeros(0, dtype=torch.float64, device=measurement.device)
    with measurement.running():
        results = measurement.results(batch)
    norms = [result.sq_norms for result in results.values()]
    dtype = functools.reduce(torch.promote_types, (norm.dtype for norm in norms))
    return torch.stack([norm.to(dtype) for norm in norms]).sum(0)


@dataclass
class NormSums:
    """Sums over examples of ‖g_i‖² and ‖g_i‖⁴, on the device of the first batch."""

    second: Tensor | float = 0.0
    fourth: Tensor | float = 0.0

    def add(self, sq_norms: Tensor) -> None:
        """Add the squared norms of a batch, [N]."""
        self.second, self.fourth = self.second + sq_norms.sum(), self.fourth + sq_norms.square().sum()

    @property
    def effective_examples(self) -> float:
        """(sum ‖g‖²)² / sum ‖g‖⁴: n for equal norms, 1 when one example holds all; NaN without any."""
        return ratio(float(self.second) ** 2, float(self.fourth))


def _spread_over_groups(data: Any) -> int | None:
    """A batch size that gives every jackknife group of a whole sample its batch."""
    if not is_pair_of_arrays(data):
        return None
    return max(1, min(DEFAULT_BATCH_SIZE, math.ceil(len(data[0]) / MOST_GROUPS)))


def _nothing(parameters: dict[str, nn.Parameter]) -> dict[str, Result]:
    """Results of no examples: empty norms, zero sums."""
    measured = Measured((), "none")
    return {name: Result(p.new_zeros(0), torch.zeros_like(p), measured) for name, p in parameters.items()}
