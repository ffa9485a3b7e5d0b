"""`measure`: gradient diversity of any model on any data, exact and audited. `per_example_sq_norms`: the raw norms."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from batchscope.errors import InputError, MeasurementError, choose
from batchscope.gradients.backward.audit import audit as run_audit
from batchscope.gradients.backward.collect import Measured, Result
from batchscope.gradients.backward.engine import Engine
from batchscope.gradients.backward.planner import DEFAULT_MEMORY_BUDGET, Planner
from batchscope.gradients.moments import MOST_GROUPS, MomentsAccumulator, groups_within
from batchscope.gradients.report import Coverage, Plan, Report
from batchscope.gradients.subject import batchnorm as batchnorm_choices
from batchscope.gradients.subject.batches import (
    DEFAULT_BATCH_SIZE,
    Batch,
    is_changing,
    is_pair_of_arrays,
    iterate,
    make_batch,
)
from batchscope.gradients.subject.losses import Loss
from batchscope.gradients.subject.subject import Subject, untouched
from batchscope.gradients.tracing.probe import coupling_error, probe

JACKKNIFE_MEMORY = 2**30  # bytes for the summed gradients of the groups that give an interval
DROPOUT_CHOICES = ("refuse", "eval", "sample")


@dataclass(frozen=True)
class Options:
    """How to measure; the keyword arguments of `measure`.

    batchnorm: "refuse", "eval", "frozen" or "microbatch" (see batchnorm.py). dropout: "refuse", "eval" (everything that
    is random in training mode is switched off) or "sample" (gradients of one random draw; not audited).
    audit: check the first batch against plain autograd. memory_budget: bytes of scratch memory.
    """

    batchnorm: str = "refuse"
    dropout: str = "refuse"
    audit: bool = True
    memory_budget: int = DEFAULT_MEMORY_BUDGET

    def __post_init__(self) -> None:
        choose("batchnorm choice", self.batchnorm, batchnorm_choices.CHOICES)
        choose("dropout choice", self.dropout, DROPOUT_CHOICES)
        if self.memory_budget <= 0:
            raise InputError(f"memory_budget={self.memory_budget}: expected a positive number of bytes")


@dataclass(eq=False)
class Measurement:
    """A measurement in progress: checks the first batch, then turns batches into Results."""

    model: nn.Module
    loss: Loss
    options: Options
    notes: list[str] = field(default_factory=list)
    _checked: bool = False

    def __post_init__(self) -> None:
        model = unwrap(self.model)
        self.subject = Subject(model, self.loss, self.options.batchnorm)
        self.engine = Engine(self.subject, Planner(self.options.memory_budget))
        if not self.subject.parameters:
            raise InputError("the model has no parameter that requires a gradient: nothing to measure")
        _check_embeddings(model)
        self.device = next(iter(self.subject.parameters.values())).device

    @contextmanager
    def running(self) -> Iterator[None]:
        """Within this context the model is set up as the options say; afterwards it is as it was."""
        with untouched(self.subject.model), torch.enable_grad():
            _set_modes(self.subject.model, self.options)
            yield

    def results(self, batch: Batch) -> dict[str, Result]:
        """Parameter name -> Result of one batch of at least one example."""
        self.subject.prepare(batch)
        if self._checked or batch.num_examples == 1:
            return self.engine.measure(batch)
        self._check(batch)
        results = self.engine.measure(batch)
        if self.options.audit and self.options.dropout != "sample":
            run_audit(self.subject, batch, results)
        self._checked = True
        return results

    def _check(self, batch: Batch) -> None:
        found = probe(self.subject, batch)
        if not found.is_deterministic:
            self._random(self.subject.model)
        if found.coupled_examples():
            raise coupling_error(self.subject, batch)
        self.engine.trace = found.trace

    def _random(self, model: nn.Module) -> None:
        names = [n for n, m in model.named_modules() if m.training and "dropout" in type(m).__name__.lower()]
        where = f" (in training mode: {', '.join(names)})" if names else ""
        if self.options.dropout != "sample":
            raise MeasurementError(
                f"two forward passes on the same examples gave different losses{where}: the measurement would change "
                "from run to run. Expected a deterministic model, or a choice: dropout='eval' (switch it off) or "
                "'sample' (gradients of one random draw)"
            )
        self.notes.append(f"random forward pass{where}: gradients of one draw, not audited")


def measure(
    model: nn.Module,
    loss: Loss,
    data: Any,
    *,
    population: float | None = None,
    batch_size: int | None = None,
    batchnorm: str = "refuse",
    dropout: str = "refuse",
    audit: bool = True,
    memory_budget: int = DEFAULT_MEMORY_BUDGET,
) -> Report:
    """Gradient diversity Δ = S1/Q of `model` on `data`, per parameter, per module and in total.

    S1 = sum_i ‖g_i‖² and Q = ‖sum_i g_i‖², g_i the gradient of example i's own loss, never divided by a batch size
    (Yin et al. 2018; Definition 1 of Chen et al. 2018). Exact up to rounding; accumulated in float64. The model, its
    gradients and the random state are left as they were.

    model: any module; its parameters that require a gradient are measured.
    loss: loss(outputs, targets) -> per-example losses [N] (or [N, ...], summed per example); torch's own losses are
        accepted as they are and un-reduced.
    data: iterable of batches (inputs, targets), a pair of tensors or arrays, or a torch Dataset. The first axis counts
        examples. inputs: a tensor, a tuple of the model's arguments or a dict of its keyword arguments.
    population: number of examples (or math.inf) of which `data` is a random sample; gives `report.interval`.
    batch_size: examples per batch when `data` is whole tensors; the result does not depend on it.
    batchnorm, dropout, audit, memory_budget: see `Options`.

    InputError: unusable loss or data. MeasurementError: coupled examples, a random forward pass, or a failed audit.
    """
    measurement = Measurement(model, loss, Options(batchnorm, dropout, audit, memory_budget))
    engine = measurement.engine
    num_weights = sum(p.numel() for p in engine.parameters.values())
    groups = 0
    if population is not None:
        groups = groups_within(JACKKNIFE_MEMORY, num_weights)
        batch_size = batch_size or _spread_over_groups(data)
    accumulator, coverage = MomentsAccumulator(groups), Coverage.start(measurement.subject.model)
    with measurement.running():
        if is_changing(data):
            measurement.notes.append("the data changes from one reading to the next: gradients of one draw of it")
        for batch in iterate(data, measurement.device, batch_size):
            results = measurement.results(batch) if batch.num_examples else _nothing(engine.parameters)
            coverage.add(results)
            sums = torch.stack([result.sq_norms for result in results.values()]).sum(1, dtype=torch.float64)
            accumulator.add(
                batch.num_examples,
                dict(zip(results, sums.unbind(), strict=True)),
                {name: result.grad_sum for name, result in results.items()},
            )
            del results  # before the next batch needs its memory
    if coverage.num_batches == 0:
        raise InputError("data held no batch at all: expected at least one (inputs, targets)")
    moments = accumulator.finish()
    plan = Plan(tuple(engine.planner.choices.values()))
    return Report.of(measurement.subject.model, moments, coverage, plan, population, tuple(measurement.notes))


def per_example_sq_norms(
    model: nn.Module,
    loss: Loss,
    inputs: Any,
    targets: Any,
    *,
    batchnorm: str = "refuse",
    dropout: str = "refuse",
    audit: bool = True,
    memory_budget: int = DEFAULT_MEMORY_BUDGET,
) -> Tensor:
    """‖g_i‖² of every example, [N], float32 or better; arguments and errors as for `measure`."""
    measurement = Measurement(model, loss, Options(batchnorm, dropout, audit, memory_budget))
    batch = make_batch(inputs, targets, measurement.device)
    if not batch.num_examples:
        return torch.zeros(0, dtype=torch.float64, device=measurement.device)
    with measurement.running():
        results = measurement.results(batch)
    return torch.stack([result.sq_norms for result in results.values()]).sum(0)


def unwrap(model: nn.Module) -> nn.Module:
    """The module inside torch.compile or data-parallel wrappers: its parameters and calls are the same."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inner = model.module
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def _set_modes(model: nn.Module, options: Options) -> None:
    coupling = batchnorm_choices.coupling_modules(model)
    if coupling and options.batchnorm == "refuse":
        raise batchnorm_choices.refuse(list(coupling))
    for module in model.modules():
        is_batchnorm = isinstance(module, nn.modules.batchnorm._BatchNorm)
        if (options.batchnorm if is_batchnorm else options.dropout) == "eval":
            module.training = False


def _check_embeddings(model: nn.Module) -> None:
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding | nn.EmbeddingBag):
            if module.max_norm is not None:
                raise MeasurementError(f"{name!r} has max_norm: its forward pass changes its weight; set max_norm=None")
            if module.scale_grad_by_freq:
                raise MeasurementError(
                    f"{name!r} has scale_grad_by_freq: an example's gradient depends on its batch; set it False"
                )


def _spread_over_groups(data: Any) -> int | None:
    """A batch size that gives every jackknife group of a whole sample its batch."""
    if not is_pair_of_arrays(data):
        return None
    return max(1, min(DEFAULT_BATCH_SIZE, math.ceil(len(data[0]) / MOST_GROUPS)))


def _nothing(parameters: dict[str, nn.Parameter]) -> dict[str, Result]:
    """Results of no examples: empty norms, zero sums."""
    measured = Measured((), "none")
    return {name: Result(p.new_zeros(0), torch.zeros_like(p), measured) for name, p in parameters.items()}
