"""The watcher: what happens in the hooks of an observed loop.

Every entry (a hook on the model, on an output, on a parameter, on the optimizer) passes through `guard`, which turns
an error into a note: whatever goes wrong in here, the loop goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.autograd import Variable

from batchscope.errors import MeasurementError
from batchscope.gradients.backward.planner import Planner
from batchscope.gradients.observing import distributed
from batchscope.gradients.observing.backward_watch import BackwardWatch
from batchscope.gradients.observing.choosing import Choice, Way
from batchscope.gradients.observing.forward_watch import ForwardWatch
from batchscope.gradients.observing.gradient_changes import GradientChanges
from batchscope.gradients.observing.guarding import Guard
from batchscope.gradients.observing.history import StepMoments
from batchscope.gradients.observing.notes import Notes
from batchscope.gradients.observing.output_hooks import await_any
from batchscope.gradients.observing.own_passes import OwnPasses
from batchscope.gradients.observing.pass_results import PassResults
from batchscope.gradients.observing.scale import Told
from batchscope.gradients.observing.step_log import StepLog
from batchscope.gradients.observing.step_under_way import StepUnderWay, trainable
from batchscope.gradients.observing.steps import Steps

PATIENCE = 3  # observed steps in a row that may fail before observing ends


@dataclass(frozen=True)
class Options:
    """How to observe; see `observe`."""

    every: int
    audit_every: int
    told: Told
    population: float
    is_distributed: bool


class Watcher:
    """Observes the steps of a loop.

    called: the model as the loop calls it; model: inside its wrappers. steps: which step it is; tells when one ends.
    """

    def __init__(
        self, called: nn.Module, model: nn.Module, steps: Steps, notes: Notes, planner: Planner, options: Options
    ) -> None:
        self._steps, self._notes, self._options = steps, notes, options
        self._own = OwnPasses()
        self._choice = Choice(called, model, planner, self._own)
        results = PassResults(self._choice, self._own, notes, planner, options.told)
        self._log = StepLog(notes, options.population, options.is_distributed)
        self._step = StepUnderWay(trainable(model), options.is_distributed)
        self._changes = GradientChanges(steps, notes)
        self.guard = Guard(self._step, steps, notes, self._log)
        backwards = BackwardWatch(self._step, steps, self._own, results, self.guard)
        self._forwards = ForwardWatch(
            model, self._step, steps, self._own, self._choice, results, options.told, notes, backwards
        )

    @property
    def history(self) -> dict[int, StepMoments]:
        """Step -> moments, filled as steps end."""
        return self._log.history

    @property
    def way(self) -> Way:
        """How the model is observed."""
        return self._choice.way

    def finish(self) -> None:
        """At the end of the loop: a step under way, unless the optimizer steps and has not taken it, and silence
        explained."""
        is_left = self._steps.is_optimizers and self._steps.current > 0
        if self._step.sums.num_backward and not self._step.is_broken and not is_left:
            self._end_of_step(self._steps.current)
        self._log.explain_silence()

    def leave(self) -> None:
        """End of a forward pass that may be under way."""
        self._forwards.leave()

    def stop(self, reason: str, remedy: str) -> None:
        """Observe no more; a note says why."""
        self._choice.way = Way.OFF
        self._notes.loss(None, reason, remedy)

    # --------------------------------------------------------------------------------------------- a forward pass

    def before_forward(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Hook: begin to record, on the outermost call of an observed step that autograd records."""
        step = self._step
        if not self._is_observed or not torch.is_grad_enabled():
            return
        if self._own.is_guest(step.thread):
            self._own.has_guests = True
            self._meet_guest()
            return
        if self._own.are_running or step.active is not None:
            return
        if step.backward is not None and torch._C._current_graph_task_id() >= 0:  # a checkpoint around the model
            return
        self.guard(self._begin, args, kwargs)

    @property
    def _is_observed(self) -> bool:
        """Whether the step that the loop is in shall be; asked first of all, so that others cost next to nothing."""
        return self._steps.current % self._options.every == 0 and self._choice.way is not Way.OFF

    def _begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        is_audited = self._log.num_observed % self._options.audit_every == 0
        self._forwards.begin(args, kwargs, is_audited, is_audited or self._changes.wants_sums)

    def _meet_guest(self) -> None:
        """Another thread uses the model with gradients: what it adds to them cannot be told from the step's own."""
        if self._is_observed and not self._step.is_broken:
            self.guard(self._refuse_threads)

    @staticmethod
    def _refuse_threads() -> None:
        raise MeasurementError("the model is called from several threads within a step, which share its gradients")

    def after_forward(self, output: Any) -> None:
        """Hook: end of the recording; the outputs wait for their gradients."""
        one = self._step.active
        if one is None and not self._is_observed:
            if not self._steps.is_optimizers and torch.is_grad_enabled() and self.way is not Way.OFF:
                self.guard(self._count, output)
            return
        if self._own.is_guest(self._step.thread):  # its backward pass may come in another step
            self.guard(await_any, output, self._meet_guest)
            return
        if self._own.are_running:
            return
        if one is not None:
            self.guard(self.leave)
            self.guard(self._forwards.await_gradients, one, output)
        elif torch.is_grad_enabled() and not self._steps.is_optimizers:
            self.guard(self._count, output)

    def _count(self, output: Any) -> None:
        """A pass of a step that is not observed counts when a gradient arrives."""

        def at_the_end() -> None:
            self.guard(Variable._execution_engine.queue_callback, lambda: self.guard(self._steps.add_pass))

        await_any(output, at_the_end)

    # ------------------------------------------------------------------------------------------------------ a step

    def on_end_of_step(self, step: int) -> None:
        """The optimizer has stepped: what was measured becomes an entry of the history."""
        if step % self._options.every == 0 and self.way is not Way.OFF:
            self.guard(self._end_of_step, step)
            self.guard(self._account, step)
            self.guard(self.drop_step)

    def on_found(self, is_as_counted: bool) -> None:
        """The optimizer was found, after some steps were counted without it; they are counted anew if it counts
        otherwise.
        """
        if not is_as_counted:
            self.guard(self._log.count_anew, self._steps)
        self.guard(self.drop_step)

    def drop_step(self) -> None:
        """Forget the step under way, and its hooks."""
        self._step.drop()

    def _end_of_step(self, number: int) -> None:
        """The step is complete: its moments into the history."""
        step = self._step
        usable = bool(step.sums.num_backward) and not step.is_broken
        if self._options.is_distributed and not distributed.all_are(usable, self._device):
            usable = False
        if usable:
            self._changes.check(number, step)
            are_groups = self.way is Way.GROUPS
            self._own.run(self._log.add, number, step.sums, step.parameters, are_groups)
            step.end()
            if step.is_broken:  # another thread came meanwhile
                self._log.withdraw(number)
        elif not step.is_broken and not self._log.is_counted_anew(number):
            self._log.add_missing(number, step.why)
        step.may_have_several = step.has_several

    def _account(self, step: int) -> None:
        """Observing ends after several observed steps in a row that failed."""
        if self._log.count_failures(step) >= PATIENCE and not self._options.is_distributed:
            self.stop(
                f"{PATIENCE} observed steps in a row failed: observing has ended", "see the notes before this one"
            )

    @property
    def _device(self) -> torch.device:
        return next(iter(self._step.parameters.values())).device
