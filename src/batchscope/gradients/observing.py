"""`observe`: gradient moments inside an existing training loop, without changing what it trains.

On every `every`-th step the forward pass of the model runs under a capturing mode, and hooks on the outputs of layers
form the per-example gradients while the loop's own backward pass runs. The graph is the user's own: `.grad` is what it
would have been, bit for bit. On all other steps nothing happens.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from batchscope.errors import InputError, MeasurementError, choose
from batchscope.gradients.backward.capture import Capture, backward
from batchscope.gradients.backward.collect import Collector
from batchscope.gradients.backward.planner import DEFAULT_MEMORY_BUDGET, Planner
from batchscope.gradients.estimands import Moments, NoiseEstimate, unbiased_sq_norm_mean, unbiased_trace_covariance
from batchscope.gradients.measuring import unwrap
from batchscope.gradients.moments import MomentsAccumulator
from batchscope.gradients.rules import REWRITES, load
from batchscope.gradients.subject.batches import Batch, make_batch
from batchscope.gradients.subject.batchnorm import coupling_modules, refuse
from batchscope.gradients.subject.losses import sum_of_outputs
from batchscope.gradients.subject.subject import Subject, untouched
from batchscope.gradients.tracing.probe import coupling_error, probe
from batchscope.gradients.tracing.trace import Trace


@dataclass(frozen=True)
class StepMoments(Moments):
    """Moments of the examples of one training step. by_parameter: name -> Moments."""

    by_parameter: Mapping[str, Moments] = field(default_factory=dict)

    @property
    def noise(self) -> NoiseEstimate:
        """Unbiased ‖E g‖² and tr Σ of the distribution the step's examples were drawn from."""
        numbers = self.num_examples, self.sum_sq_norms, self.sq_norm_sum
        return NoiseEstimate(unbiased_sq_norm_mean(*numbers), unbiased_trace_covariance(*numbers))


@dataclass(eq=False)
class _Pass:
    """One observed forward pass and what its backward pass delivered. factor: from the loss's gradients to g_i."""

    collector: Collector
    mode: Capture
    factor: float


class observe:  # noqa: N801 - used as a function: `with bs.observe(model) as observed`
    """Context manager: observe gradient moments every `every` steps of the training loop inside it.

    model: the module the loop calls (a DistributedDataParallel or torch.compile wrapper is looked through).
    every: steps between observations; the first step is observed. A step is `accumulation` forward passes in training.
    reduction: what the loop's loss does over the examples of a forward pass, "mean" or "sum".
    accumulation: forward passes per step (micro-batches); their moments are merged.
    loss_scale: what the loss was multiplied by besides, a number or a function called at each observed pass:
        1/accumulation when micro-batch losses are averaged, `scaler.get_scale` under a GradScaler.

    `history`: step -> StepMoments (step 0 is the first). `notes`: step -> why nothing could be observed.
    Parameters that no trace reaches are NaN, and with them the totals.
    With torch.distributed running, moments are summed over ranks. Leaves no hook, wrapper or attribute behind.

    MeasurementError: BatchNorm in training mode, or examples that influence each other's outputs.
    """

    def __init__(
        self,
        model: nn.Module,
        every: int = 1,
        *,
        reduction: str = "mean",
        accumulation: int = 1,
        loss_scale: float | Callable[[], float] = 1.0,
        memory_budget: int = DEFAULT_MEMORY_BUDGET,
    ) -> None:
        if every < 1 or accumulation < 1:
            raise InputError(f"every={every}, accumulation={accumulation}: expected at least 1")
        self.model = unwrap(model)
        self.reduction = choose("reduction", reduction, ("mean", "sum"))
        self.every, self.accumulation, self._loss_scale = every, accumulation, loss_scale
        self._subject, self._planner = Subject(self.model, sum_of_outputs), Planner(memory_budget)
        self._trace: Trace | None = None
        self._history: dict[int, StepMoments] = {}
        self.notes: dict[int, str] = {}
        self._passes = 0
        self._step: int | None = None  # the observed step that is under way
        self._pending: list[_Pass] = []
        self._active: Capture | None = None
        self._probing = False
        self._missed: set[str] = set()
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []

    def __enter__(self) -> observe:
        load()
        before = self.model.register_forward_pre_hook(self._before, with_kwargs=True)
        self._hooks = [before, self.model.register_forward_hook(self._after, always_call=True)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        self._leave()
        if kind is None:
            self._flush()
        self._pending, self._trace = [], None

    @property
    def history(self) -> dict[int, StepMoments]:
        """Step -> moments of its examples; the last step is complete once its backward pass has run."""
        if self._pending and self._passes % self.accumulation == 0:
            self._flush()
        return self._history

    @property
    def noise(self) -> NoiseEstimate:
        """Unbiased estimates averaged over the steps; their ratio, taken once, is the noise scale of the run so far."""
        return NoiseEstimate.pool([moments.noise for moments in self.history.values()])

    def _before(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._probing or not torch.is_grad_enabled() or not module.training:
            return
        step, place = divmod(self._passes, self.accumulation)
        self._passes += 1
        if place == 0:
            self._flush()
        if step % self.every:
            return
        self._step = step
        inputs = _bound(module, args, kwargs)
        batch = make_batch(inputs, None, _device(module))
        batch = Batch(inputs, torch.arange(batch.num_examples), batch.num_examples)  # targets only count the examples
        if batch.num_examples:
            self._start(batch)

    def _start(self, batch: Batch) -> None:
        """Enter the capturing mode for this forward pass; `_after` leaves it."""
        trace = self._trace_for(batch)
        scale = self._loss_scale() if callable(self._loss_scale) else self._loss_scale
        collector = Collector(self._subject.parameters, self._planner, batch.num_examples)
        mode = Capture(self._subject.parameters, trace, REWRITES, batch.num_examples, collector.receive, cut=False)
        collector.meetings_of = mode.meetings_of
        self._pending.append(_Pass(collector, mode, (batch.num_examples if self.reduction == "mean" else 1) / scale))
        self._active = mode
        mode.__enter__()  # type: ignore[no-untyped-call]

    def _after(self, module: nn.Module, args: Any, output: Any) -> None:
        self._leave()

    def _leave(self) -> None:
        if self._active is not None:
            self._active.__exit__(None, None, None)  # type: ignore[no-untyped-call]
            self._active = None

    def _trace_for(self, batch: Batch) -> Trace:
        """The trace, made and checked on the first observed batch."""
        if self._trace is None:
            self._probing = True
            try:
                with untouched(self.model):
                    self._probe(batch)
            finally:
                self._probing = False
        if self._trace is None:
            raise MeasurementError(
                "the model makes different calls for batches of different size, so examples cannot be told apart in a "
                "running loop; use bs.measure on the model between epochs instead"
            )
        return self._trace

    def _probe(self, batch: Batch) -> None:
        coupled = coupling_modules(self.model)
        if coupled:
            raise refuse(list(coupled))
        if batch.num_examples == 1:
            raise InputError("the first observed forward pass holds one example: expected batches of at least 2")
        found = probe(self._subject, batch)
        if found.coupled_examples():
            raise coupling_error(self._subject, batch)
        self._trace = found.trace
        if found.trace is not None:
            self._missed = self._find_missed(batch.head(3), found.trace)

    def _find_missed(self, batch: Batch, trace: Trace) -> set[str]:
        """Parameters that a backward pass reaches past the capture; they will be NaN."""
        parameters = self._subject.parameters
        mode = Capture(parameters, trace, REWRITES, batch.num_examples, lambda *use: None)
        with torch.enable_grad():
            return backward(self._subject.losses(batch, mode), mode, parameters)[0]

    def _flush(self) -> None:
        """Turn the finished passes of the observed step into its moments."""
        passes, self._pending = self._pending, []
        if not passes or self._step is None:
            return
        if any(one.mode.has_left_trace for one in passes):
            self.notes[self._step] = (
                "not observed: the model made other calls than on the first batch (its shapes changed)"
            )
            self._trace = None  # traced afresh at the next observed step
            return
        if not any(one.collector.results for one in passes):
            self.notes[self._step] = "not observed: no backward pass"
            return
        accumulator = MomentsAccumulator()
        for one in passes:
            self._add(one, accumulator)
        total = accumulator.finish()
        parameters = total.by_parameter
        whole = total.total
        self._history[self._step] = StepMoments(
            whole.num_examples, whole.sum_sq_norms, whole.sq_norm_sum, by_parameter=parameters
        )

    def _add(self, one: _Pass, accumulator: MomentsAccumulator) -> None:
        """One pass into the accumulator, over all ranks. A parameter the capture missed is NaN."""
        with torch.no_grad():
            one.collector.finish()
        norms, sums = {}, {}
        for name, parameter in self._subject.parameters.items():
            result = one.collector.results.get(name)
            if result is not None and name not in self._missed:
                norms[name] = result.sq_norms.sum(dtype=torch.float64) * one.factor**2
                sums[name] = result.grad_sum.double() * one.factor
            else:
                value = math.nan if name in self._missed else 0.0  # 0: the loss does not depend on it
                sums[name] = torch.full_like(parameter, value, dtype=torch.float64)
                norms[name] = sums[name].new_tensor(value)
        count = torch.tensor(one.collector.num_examples, device=_device(self.model))
        for tensor in (count, *norms.values(), *sums.values()) if _is_distributed() else ():
            dist.all_reduce(tensor)
        accumulator.add(int(count), norms, sums)


def _bound(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The arguments of a call as the inputs of a Batch."""
    if not kwargs:
        return args
    return dict(inspect.signature(module.forward).bind(*args, **kwargs).arguments)


def _device(module: nn.Module) -> torch.device:
    return next(module.parameters()).device


def _is_distributed() -> bool:
    return dist.is_available() and dist.is_initialized()
