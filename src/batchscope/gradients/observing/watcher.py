"""The watcher: what happens in the hooks of an observed loop.

Every entry (a hook on the model, on an output, on a parameter, on the optimizer) passes through `guard`, which turns
an error into a note: whatever goes wrong in here, the loop goes on.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Variable

from batchscope.errors import MeasurementError
from batchscope.gradients.backward.planner import Planner
from batchscope.gradients.observing import distributed
from batchscope.gradients.observing.choosing import Choice, Way
from batchscope.gradients.observing.history import StepMoments
from batchscope.gradients.observing.inside import InsideCapture
from batchscope.gradients.observing.loop_gradients import LoopGradients, are_empty, held
from batchscope.gradients.observing.notes import Notes
from batchscope.gradients.observing.output_hooks import await_any, await_gradients
from batchscope.gradients.observing.outputs import batch_of, tensors_of
from batchscope.gradients.observing.pass_results import PassResults
from batchscope.gradients.observing.passes import BackwardPass, ForwardPass, StepSums
from batchscope.gradients.observing.replay import Recording
from batchscope.gradients.observing.scale import Told
from batchscope.gradients.observing.step_log import StepLog
from batchscope.gradients.observing.steps import Steps
from batchscope.gradients.observing.walk import Walk
from batchscope.gradients.subject.state import Buffers, unseen

PATIENCE = 3  # observed steps in a row that may fail before observing ends


@dataclass(frozen=True)
class Options:
    """How to observe; see `observe`."""

    every: int
    audit_every: int
    told: Told
    population: float
    is_distributed: bool


NOT_CALLED = (
    "no call of the model was seen (calls of its parts, of `forward` itself and from compiled code are not seen)"
)
NO_EXAMPLES = "the model was called with a batch of no examples"
NO_BACKWARD = "no backward pass from the model to its parameters was seen (torch.autograd.grad leaves them no gradient)"
DIFFERENTIATED = "the gradients were formed to be differentiated again (create_graph=True)"


class Watcher:
    """Observes the steps of a loop.

    called: the model as the loop calls it; model: inside its wrappers. steps: which step it is; tells when one ends.
    """

    def __init__(
        self, called: nn.Module, model: nn.Module, steps: Steps, notes: Notes, planner: Planner, options: Options
    ) -> None:
        self._model, self._steps, self._notes, self._planner, self._options = model, steps, notes, planner, options
        self._choice = Choice(called, model, planner)
        self._parameters = trainable(model)
        self._results = PassResults(self._choice, notes, planner, options.told)
        self._log = StepLog(notes, options.population, options.is_distributed)
        self._keeps = True  # whether steps have several backward passes, or may have
        self._has_several = False  # whether one had
        self._gradients: LoopGradients | None = None  # while hooks on the parameters are needed
        self._buffers: Buffers | None = None  # as they were before the last observed call
        self._active: ForwardPass | None = None
        self._passes: list[ForwardPass] = []  # of the step, in order
        self._begin_step()

    def _begin_step(self) -> None:
        self._release()
        self._backward: BackwardPass | None = None
        self._sums = StepSums(tuple(self._parameters), self._keeps or self._options.is_distributed)
        self._versions: int | None = None
        self._broken = False  # whether the step cannot be observed
        self._thread: int | None = None  # in which the step's passes run
        self._why = NOT_CALLED  # the step is missing, if it is

    def _release(self) -> None:
        for one in self._passes:
            one.release()
        self._passes = []

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
        if self._sums.num_backward and not self._broken and not is_left:
            self._end_of_step(self._steps.current)
        self._log.explain_silence()

    # ------------------------------------------------------------------------------------------- the guarded entries

    def before_forward(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Hook: begin to record, on the outermost call of an observed step that autograd records."""
        if self._results.is_busy or self.way is Way.OFF or not torch.is_grad_enabled():
            return
        if self._thread is not None and self._thread != threading.get_ident() and not self._broken:
            self.guard(self._refuse_threads)
        if self._active is not None:
            return
        if self._backward is not None and torch._C._current_graph_task_id() >= 0:  # a checkpoint around the model
            return
        if self._steps.current % self._options.every == 0:
            self.guard(self._begin, args, kwargs)

    def after_forward(self, output: Any) -> None:
        """Hook: end of the recording; the outputs wait for their gradients."""
        if self._results.is_busy or self.way is Way.OFF:
            return
        if self._active is not None and self._thread != threading.get_ident():  # an evaluation beside the training
            return
        one = self._active
        self.guard(self.leave)
        if one is not None:
            self.guard(self._await_gradients, one, output)
        elif torch.is_grad_enabled() and not self._steps.is_optimizers:
            self.guard(self._count, output)

    @staticmethod
    def _refuse_threads() -> None:
        raise MeasurementError("the model is called from several threads within a step, which share its gradients")

    def _on_output_gradient(self, one: ForwardPass, position: int, gradient: Tensor) -> None:
        self.guard(self._receive, one, position, gradient)

    def _on_end_of_backward(self) -> None:
        self.guard(self._end_of_backward)

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

    def guard(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """function(*arguments); an error becomes a note, and the step under way is not observed."""
        try:
            return unseen(function, *arguments)
        except Exception as error:
            self._broken = True
            if self._notes.is_strict:
                self.drop_step()
                raise
            # Saying what went wrong may go wrong too (no memory is left, warnings are errors): the loop matters more.
            with contextlib.suppress(Exception):
                self._log.add_error(self._steps.current, error)
        return None

    # ---------------------------------------------------------------------------------------------- a forward pass

    def _begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """An observed forward pass begins."""
        if self._backward is not None:  # the last one did not end: it raised
            self._backward = None
        walk = Walk.over(self._model)
        if self._broken or not any(p.requires_grad for p in walk.parameters):  # frozen, for another network's step
            return
        batch = batch_of(args, kwargs)
        if not batch.num_examples:
            self._why = NO_EXAMPLES
            return
        is_thorough = self.way is not Way.INSIDE
        copies = self._results.copies_inputs
        recording = Recording.start(self._model, walk, batch, copies, self._buffers, is_thorough)
        self._buffers = recording.buffers
        if self._versions is not None and self._versions != recording.versions:
            self._leave_out()
            return
        self._forget_discarded()
        self._follow_parameters(walk.parameters)
        self._results.in_own_pass(self._choice.make, batch, self._parameters, walk.modules)
        recording.batch = self._choice.read(recording.batch)
        one = ForwardPass(
            recording,
            self._options.told.factor(batch.num_examples),
            self._log.num_observed % self._options.audit_every == 0,
        )
        if self.way is Way.INSIDE and self._choice.rehearsal.trace is not None and batch.num_examples > 1:
            alone = not one.is_audited
            one.capture = InsideCapture(
                self._parameters, self._choice.rehearsal.trace, batch.num_examples, self._planner, alone
            )
            one.capture.__enter__()  # type: ignore[no-untyped-call]
        self._active, self._thread = one, threading.get_ident()

    def _leave_out(self) -> None:
        """The parameters have changed within the step: a pass at other weights is not part of it."""
        if not self._steps.inside:  # in a closure it is the line search
            self._notes.remark(
                self._steps.current,
                "the parameters changed between the backward passes of a step (a perturbation as in sharpness-aware "
                "minimisation): its moments are those of its first weights",
            )

    def leave(self) -> None:
        """The forward pass is over: end the capturing mode."""
        one, self._active = self._active, None
        if one is None or one.capture is None:
            return
        one.capture.is_idle = True
        one.capture.leave()

    def _await_gradients(self, one: ForwardPass, output: Any) -> None:
        """The forward pass has ended: wait for the gradients of its outputs."""
        if one.capture is not None:
            one.capture.is_idle = False
        outputs = [tensor for tensor in tensors_of(output) if tensor.grad_fn is not None]
        if not outputs:
            return
        one.recording.returned(outputs)
        self._why = NO_BACKWARD
        if self._sums.keeps or any(output._is_view() for output in outputs):  # changed in place, a view loses its hook
            self._watch_parameters()
        await_gradients(one, self._on_output_gradient)
        self._passes.append(one)

    def _count(self, output: Any) -> None:
        """A pass of a step that is not observed counts when a gradient arrives."""

        def at_the_end() -> None:
            self.guard(Variable._execution_engine.queue_callback, lambda: self.guard(self._steps.add_pass))

        await_any(output, at_the_end)

    def _follow_parameters(self, everything: list[nn.Parameter]) -> None:
        """Which parameters are trained may change from step to step."""
        if [id(p) for p in everything if p.requires_grad] == [id(p) for p in self._parameters.values()]:
            return
        if self._sums.num_backward:
            raise MeasurementError("which parameters are trained changed between the backward passes of a step")
        self.drop_step()  # some were frozen, freed or replaced
        self._parameters = trainable(self._model)
        self._sums.names, self._choice.way = tuple(self._parameters), Way.UNKNOWN
        self._steps.follow(self._parameters.values())

    def _watch_parameters(self) -> None:
        if self._gradients is None:
            self._gradients = LoopGradients(self._parameters, self._receive_parameter, self.guard)

    def _forget_discarded(self) -> None:
        """Passes whose gradients the loop has thrown away (zero_grad) are not part of its step."""
        done = [one for one in self._passes if one.is_done]
        if not done or self._sums.num_backward == 0:
            return
        # a gradient may be zero on its own (LoRA at its start): look at one that was not
        reached = [self._parameters[name] for name in self._sums.reached()]
        smallest = min(reached, key=lambda p: p.numel(), default=None)
        is_gone = smallest is not None and (smallest.grad is None or not bool(smallest.grad.any()))
        if is_gone and self._steps.is_optimizers:
            self._release()
            self._versions = None
            self._sums = StepSums(self._sums.names, self._sums.keeps)
            return
        self._has_several = True
        if not self._sums.keeps:
            self._sums.recover(self._parameters, done[-1].factor)

    # ----------------------------------------------------------------------------------------------- a backward pass

    def _receive(self, one: ForwardPass, position: int, gradient: Tensor) -> None:
        """The gradient of an output."""
        if self._results.is_busy:
            return
        if torch.is_grad_enabled():  # a derivative inside the loss
            self._why = DIFFERENTIATED
            return
        backward = self._backward or self._begin_backward()
        if one not in backward.passes:
            backward.passes.append(one)
            one.recording.gradients = {}
        one.recording.gradients[position] = gradient

    def _begin_backward(self) -> BackwardPass:
        if self._gradients is None and not are_empty(self._parameters):
            self._watch_parameters()
        self._backward = BackwardPass([])
        Variable._execution_engine.queue_callback(self._on_end_of_backward)
        return self._backward

    def _receive_parameter(self, name: str, gradient: Tensor) -> None:
        """The gradient of a parameter, as the loop's backward pass adds it."""
        if self._results.is_busy:
            return
        backward = self._backward or self._begin_backward()
        backward.add(name, gradient, self._is_needed(backward))

    def _is_needed(self, backward: BackwardPass) -> bool:
        """Whether the gradients themselves are needed, not only their norms."""
        return self._sums.keeps or any(one.needs_gradients for one in backward.passes)

    def _end_of_backward(self) -> None:
        """A backward pass has ended: add it to its step."""
        backward, self._backward = self._backward, None
        if backward is None or self._broken:
            return
        if self._gradients is None:
            backward.take(held(self._parameters), self._is_needed(backward))
        backward.finish()
        if not backward.reached:
            return
        if not backward.passes:  # the outputs were changed in place, which takes them out of the graph
            backward.passes = [one for one in self._passes if not one.is_done]
        backward.passes = [one for one in backward.passes if one in self._passes]
        if not backward.passes:
            return
        self.guard(self._add, backward)
        self._steps.add_pass()  # also one that could not be observed

    def _add(self, backward: BackwardPass) -> None:
        """Add a backward pass through observed calls to the sums of its step."""
        self._results.add(backward, self._sums, self._steps.current)
        self._versions = backward.passes[-1].recording.versions

    # --------------------------------------------------------------------------------------------------------- a step

    def _end_of_step(self, step: int) -> None:
        """The step is complete: its moments into the history."""
        usable = bool(self._sums.num_backward) and not self._broken
        if self._options.is_distributed and not distributed.all_are(usable, self._device):
            usable = False
        if usable:
            self._results.in_own_pass(self._log.add, step, self._sums, self._parameters, self.way is Way.GROUPS)
            self._has_several |= self._sums.num_backward > 1
        elif not self._broken and not self._log.is_counted_anew(step):
            self._log.add_missing(step, self._why)
        self._keeps = self._has_several

    def _account(self, step: int) -> None:
        """Observing ends after several observed steps in a row that failed."""
        if self._log.count_failures(step) >= PATIENCE and not self._options.is_distributed:
            self.stop(
                f"{PATIENCE} observed steps in a row failed: observing has ended", "see the notes before this one"
            )

    def drop_step(self) -> None:
        """Forget the step under way, and its hooks."""
        if self._gradients is not None:
            self._gradients.remove()
        self._gradients = None
        self._begin_step()

    def stop(self, reason: str, remedy: str) -> None:
        """Observe no more; a note says why."""
        self._choice.way = Way.OFF
        self._notes.loss(None, reason, remedy)

    @property
    def _device(self) -> torch.device:
        return next(iter(self._parameters.values())).device


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Name -> parameter, of those that require a gradient."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}
