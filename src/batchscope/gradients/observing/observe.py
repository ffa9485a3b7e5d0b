"""`observe`: gradient moments inside an existing training loop, without changing what it trains.

First law: nothing that goes wrong in here may end, change or slow the run. Errors become notes, and the loop's own
graph gets hooks that read, and nothing else.

On an observed step the per-example norms are formed in the loop's own passes (`inside`), or, where the model does not
allow that, by a second pass (`replay`). Squared norms of sums are those of the loop's own gradients (`loop_gradients`).
Where BatchNorm couples the examples, groups of examples take their place (`halves`, micro-batches, ranks).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from batchscope.errors import InputError, choose
from batchscope.gradients.backward.planner import DEFAULT_MEMORY_BUDGET, Planner
from batchscope.gradients.estimands import NoiseEstimate
from batchscope.gradients.observing.attaching import Attachment, is_sharded
from batchscope.gradients.observing.curve import NoiseWindow, noise_curve
from batchscope.gradients.observing.history import StepMoments, draw, write_csv
from batchscope.gradients.observing.notes import Notes
from batchscope.gradients.observing.scale import Told
from batchscope.gradients.observing.step_under_way import trainable
from batchscope.gradients.observing.steps import Steps
from batchscope.gradients.observing.watcher import Options, Watcher
from batchscope.gradients.subject.admission import unwrap

AUDIT_EVERY = 50  # observed steps from one audit to the next: all audits together cost below 1 % of observed steps


class observe:  # noqa: N801 - used as a function: `with bs.observe(model) as observed`
    """Context manager: observe gradient moments every `every` steps of the training loop inside it.

    model: the module the loop calls (a DistributedDataParallel or torch.compile wrapper is looked through).
    every: steps between observations; the first step is observed.
    optimizer: whose steps are counted. Without it, those of the first torch optimizer that steps this model's
        parameters; until one does, `accumulation` backward passes count as a step.
    reduction, loss_scale: what the loop's loss does over the examples of a forward pass, "mean" or "sum", and what it
        is multiplied by besides (a number, or a function called at each observed pass). Needed only where the scale of
        the loss cannot be derived from what is backpropagated (see `scale`): None means "mean" there, with a note.
    accumulation: backward passes per step where no optimizer is seen.
    population: examples in the data set that batches are drawn from without replacement; math.inf: always fresh ones.
    audit_every: observed steps between checks against plain autograd of single examples; the first is checked.
    strict: raise MeasurementError where otherwise a note is made. memory_budget: bytes of scratch memory.

    `history`: step -> StepMoments (step 0 is the first); GroupMoments where BatchNorm couples the examples. `notes`:
    what was not observed and why. `noise_scale_curve()`, `plot()`, `to_csv()`: the run's noise scale. With
    DistributedDataParallel, moments are summed over ranks. Leaves no hook, wrapper or attribute behind.

    InputError: wrong arguments. Nothing else is raised, unless strict.
    """

    def __init__(
        self,
        model: nn.Module,
        every: int = 1,
        *,
        optimizer: torch.optim.Optimizer | None = None,
        reduction: str | None = None,
        accumulation: int | None = None,
        loss_scale: float | Callable[[], float] | None = None,
        population: float = math.inf,
        audit_every: int = AUDIT_EVERY,
        strict: bool = False,
        memory_budget: int = DEFAULT_MEMORY_BUDGET,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise InputError(f"model is a {type(model).__name__}: expected a torch.nn.Module")
        _check_numbers(every=every, accumulation=accumulation, audit_every=audit_every)
        if population != math.inf and not (isinstance(population, int) and population >= 1):
            raise InputError(
                f"population={population!r}: expected the number of examples of the data set, or math.inf, as if left "
                "out, for examples that are always fresh"
            )
        if isinstance(loss_scale, int | float) and not (loss_scale and math.isfinite(loss_scale)):
            raise InputError(f"loss_scale={loss_scale}: expected a finite number other than 0, or a function")
        told = Told(None if reduction is None else choose("reduction", reduction, ("mean", "sum")), loss_scale)
        self.model, self.every, self.notes = unwrap(model), every, Notes(strict)
        parameters = trainable(self.model)
        if not parameters:
            raise InputError("the model has no parameter that requires a gradient: nothing to observe")
        # a torch.compile wrapper may be around the DistributedDataParallel
        whole = getattr(model, "_orig_mod", model)
        options = Options(every, audit_every, told, population, isinstance(whole, DistributedDataParallel))
        self._called = model
        self._steps = Steps(parameters.values(), optimizer, accumulation)
        self._watcher = Watcher(model, self.model, self._steps, self.notes, Planner(memory_budget), options)
        self._attachment: Attachment | None = None

    def __enter__(self) -> observe:
        self._watcher.guard(self._start)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._watcher.guard(self._watcher.finish)
        finally:
            attachment, self._attachment = self._attachment, None
            removals = [self._watcher.leave, self._watcher.drop_step, self._steps.stop]
            for remove in removals if attachment is None else [*removals, attachment.remove]:
                self._watcher.guard(remove)

    def _start(self) -> None:
        watcher = self._watcher
        if is_sharded(self.model):
            watcher.stop(
                "the model's parameters are sharded (FSDP, fully_shard or tensor parallelism)",
                "observe a DistributedDataParallel model, or use bs.measure on a copy with whole parameters",
            )
        elif isinstance(self._called, nn.DataParallel):
            watcher.stop("DataParallel runs copies of the model", "use DistributedDataParallel")
        else:
            self._attachment = Attachment(self._called, self.model, watcher.before_forward, watcher.after_forward)
            self._steps.start(watcher.on_end_of_step, watcher.on_found, watcher.guard)

    @property
    def history(self) -> dict[int, StepMoments]:
        """Step -> moments of its examples; a step is complete when the optimizer steps."""
        return self._watcher.history

    @property
    def noise(self) -> NoiseEstimate:
        """Unbiased estimates averaged over all steps. Their ratio hides what changes along the run; see the curve."""
        return NoiseEstimate.pool([moments.noise for moments in self.history.values()])

    @property
    def way(self) -> str:
        """How the model is observed, in words."""
        return self._watcher.way.value

    def noise_scale_curve(self, level: float = 0.95, spread: float = 2.0) -> tuple[NoiseWindow, ...]:
        """The noise scale along the run: windows of observed steps with intervals; see `curve.noise_curve`."""
        return noise_curve([(step, moments.noise) for step, moments in self.history.items()], level, spread)

    def plot(self, axes: Any = None) -> Any:
        """Draw the curve with matplotlib; returns the axes."""
        return draw(self.noise_scale_curve(), axes)

    def to_csv(self, path: str | Path) -> None:
        """One line per observed step: its moments, its estimates, its window's noise scale and interval."""
        write_csv(path, self.history, self.noise_scale_curve())

    def __str__(self) -> str:
        windows = map(str, self.noise_scale_curve())
        return "\n".join([f"{len(self.history)} observed steps: {self.way}", *windows, *map(str, self.notes)])


def _check_numbers(**numbers: int | None) -> None:
    for name, value in numbers.items():
        if value is not None and (not isinstance(value, int) or value < 1):
            raise InputError(f"{name}={value!r}: expected a whole number of at least 1")
