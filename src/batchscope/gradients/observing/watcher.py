"""The watcher: what happens in the hooks of an observed loop.

Every entry (a hook on the model, on an output, on a parameter, on the optimizer) passes through `guard`, which turns
an error into a note: whatever goes wrong in here, the loop goes on.
"""

from __future__ import annotations

import contextlib
import math
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Variable

from batchscope.errors import MeasurementError
from batchscope.gradients.backward.planner import Planner
from batchscope.gradients.observing import distributed
from batchscope.gradients.observing.auditing import audit
from batchscope.gradients.observing.choosing import Choice, Way
from batchscope.gradients.observing.halves import of_halves
from batchscope.gradients.observing.history import StepMoments
from batchscope.gradients.observing.inside import CannotObserveInside, InsideCapture
from batchscope.gradients.observing.loop_gradients import LoopGradients, are_empty, held
from batchscope.gradients.observing.loss_forms import Scale, derive_again
from batchscope.gradients.observing.notes import Notes
from batchscope.gradients.observing.outputs import batch_of, before_cast, tensors_of
from batchscope.gradients.observing.passes import BackwardPass, ForwardPass, StepSums, group_moments, step_moments
from batchscope.gradients.observing.replay import Recording, measure_again
from batchscope.gradients.observing.scale import Told, misfit
from batchscope.gradients.observing.steps import Steps
from batchscope.gradients.subject.state import Buffers

PATIENCE = 3  # observed steps in a row that may fail before observing ends
SEVERAL_CALLS = (
    "one backward pass went through several calls of the model: the examples of each call count as examples of their "
    "own, also where the loss joins them (two views of an example, triplets)",
    "where they belong together, observe a module that takes them in one call",
)


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
    history: step -> moments, filled as steps end.
    """

    def __init__(
        self, called: nn.Module, model: nn.Module, steps: Steps, notes: Notes, planner: Planner, options: Options
    ) -> None:
        self._model, self._steps, self._notes, self._planner, self._options = model, steps, notes, planner, options
        self._choice = Choice(called, model, planner)
        self.history: dict[int, StepMoments] = {}
        self._parameters = trainable(model)
        self._busy = False  # in a pass of our own
        self._keeps = True  # whether steps have had several backward passes, or may have
        self._num_observed, self._failures = 0, 0
        self._copies_inputs = False  # whether the loop or the model has changed inputs in place
        self._gradients: LoopGradients | None = None  # while hooks on the parameters are needed
        self._buffers: Buffers | None = None  # as they were before the last observed call
        self._last_scale: Scale | None = None
        self._tells_forms = True  # whether the form of the loss is told from its gradients
        self._active: ForwardPass | None = None
        self._passes: list[ForwardPass] = []  # of the step, in order
        self._begin_step()

    def _begin_step(self) -> None:
        self._release()
        self._backward: BackwardPass | None = None
        self._sums = StepSums(tuple(self._parameters), self._keeps or self._options.is_distributed)
        self._versions: int | None = None
        self._broken = False  # whether the step cannot be observed

    def _release(self) -> None:
        for one in self._passes:
            one.release()
        self._passes = []

    @property
    def way(self) -> Way:
        """How the model is observed."""
        return self._choice.way

    def finish(self) -> None:
        """At the end of the loop: a step under way, and silence explained."""
        if self._sums.num_backward and not self._broken:
            self._end_of_step(self._steps.current)
        if not self.history and not self._notes:
            self._notes.loss(
                None,
                "nothing was observed: no backward pass followed a call of the model",
                "call the model that is observed, with gradients, inside the context",
            )

    # ------------------------------------------------------------------------------------------- the guarded entries

    def before_forward(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Hook: begin to record, on the outermost call of an observed step that autograd records."""
        if self._busy or self.way is Way.OFF or self._active is not None or not torch.is_grad_enabled():
            return
        if self._backward is not None and torch._C._current_graph_task_id() >= 0:  # a checkpoint around the model
            return
        if self._steps.current % self._options.every == 0:
            self.guard(self._begin, args, kwargs)

    def after_forward(self, output: Any) -> None:
        """Hook: end of the recording; the outputs wait for their gradients."""
        if self._busy or self.way is Way.OFF:
            return
        one = self._active
        self.guard(self.leave)
        if one is not None:
            self.guard(self._await_gradients, one, output)
        elif torch.is_grad_enabled() and not self._steps.is_optimizers:
            self.guard(self._count, output)

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
            self.guard(self._recount)
        self.guard(self.drop_step)

    def guard(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """function(*arguments); an error becomes a note, and the step under way is not observed."""
        try:
            return function(*arguments)
        except Exception as error:
            self._broken = True
            if self._notes.is_strict:
                self.drop_step()
                raise
            # Saying what went wrong may go wrong too (no memory is left, warnings are errors): the loop matters more.
            with contextlib.suppress(Exception):
                self._note(error)
        return None

    def _note(self, error: Exception) -> None:
        known = isinstance(error, MeasurementError | CannotObserveInside)
        self._notes.loss(
            self._steps.current,
            f"not observed: {error}" if known else f"not observed, by {type(error).__name__}: {error}",
            "bs.measure on the model between epochs says more",
        )

    # ---------------------------------------------------------------------------------------------- a forward pass

    def _begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """An observed forward pass begins."""
        if self._backward is not None:  # the last one did not end: it raised
            self._backward = None
        if self._broken:
            return
        batch = batch_of(args, kwargs)
        if not batch.num_examples:
            return
        everything = list(self._model.parameters())
        recording = Recording.start(self._model, everything, batch, self._copies_inputs, self._buffers)
        self._buffers = recording.buffers
        if self._versions is not None and self._versions != recording.versions:
            self._leave_out()
            return
        self._forget_discarded()
        self._follow_parameters(everything)
        self._in_own_pass(self._choice.make, batch, self._parameters)
        one = ForwardPass(
            recording,
            self._options.told.factor(batch.num_examples),
            self._num_observed % self._options.audit_every == 0,
        )
        if self.way is Way.INSIDE and self._choice.rehearsal.trace is not None and batch.num_examples > 1:
            alone = not one.is_audited
            one.capture = InsideCapture(
                self._parameters, self._choice.rehearsal.trace, batch.num_examples, self._planner, alone
            )
            one.capture.__enter__()  # type: ignore[no-untyped-call]
        self._active = one

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
        one.recording.outputs = outputs
        if self._sums.keeps or any(output._is_view() for output in outputs):  # changed in place, a view loses its hook
            self._watch_parameters()
        for position, tensor in enumerate(outputs):
            hook = _Forward(self._on_output_gradient, one, position)
            one.handles.append(tensor.register_hook(hook))  # type: ignore[no-untyped-call]
            if (source := before_cast(tensor)) is not None:
                before = _BeforeCast(self._on_output_gradient, one, position, source[1])
                one.handles.append(source[0].register_prehook(before))
        self._passes.append(one)

    def _count(self, output: Any) -> None:
        """A pass of a step that is not observed counts when a gradient arrives."""
        seen: list[bool] = []

        def count(gradient: Tensor) -> None:
            if not seen and not torch.is_grad_enabled():
                seen.append(True)
                self.guard(Variable._execution_engine.queue_callback, lambda: self.guard(self._steps.add_pass))

        for tensor in tensors_of(output):
            if tensor.grad_fn is not None:
                tensor.register_hook(count)  # type: ignore[no-untyped-call]
                return

    def _follow_parameters(self, everything: list[nn.Parameter]) -> None:
        """Which parameters are trained may change from step to step."""
        if self._gradients is not None or self._passes:
            return
        if [id(p) for p in everything if p.requires_grad] != [id(p) for p in self._parameters.values()]:
            self._parameters = trainable(self._model)  # some were frozen, freed or replaced
            self._sums.names, self._choice.way = tuple(self._parameters), Way.UNKNOWN

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
        if not self._sums.keeps:
            self._sums.recover(self._parameters, done[-1].factor)

    # ----------------------------------------------------------------------------------------------- a backward pass

    def _receive(self, one: ForwardPass, position: int, gradient: Tensor) -> None:
        """The gradient of an output."""
        if self._busy or torch.is_grad_enabled():  # ours, or a derivative inside the loss
            return
        backward = self._backward or self._begin_backward()
        if one not in backward.passes:
            backward.passes.append(one)
            one.recording.gradients = {}
        one.recording.gradients[position] = gradient
        z = one.recording.outputs[position]
        if one.scale is None and z.ndim and self._tells_forms:
            one.scale = derive_again(self._last_scale, z, gradient)
            self._last_scale = one.scale or self._last_scale

    def _begin_backward(self) -> BackwardPass:
        if self._gradients is None and not are_empty(self._parameters):
            self._watch_parameters()
        self._backward = BackwardPass([])
        Variable._execution_engine.queue_callback(self._on_end_of_backward)
        return self._backward

    def _receive_parameter(self, name: str, gradient: Tensor) -> None:
        """The gradient of a parameter, as the loop's backward pass adds it."""
        if self._busy:
            return
        backward = self._backward or self._begin_backward()
        backward.add(name, gradient, self._is_needed(backward))

    def _is_needed(self, backward: BackwardPass) -> bool:
        """Whether the gradients themselves are needed, not only their norms."""
        return self._sums.keeps or any(one.is_audited or one.capture is None for one in backward.passes)

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
        self._check(backward)
        one = backward.passes[0]
        if len(backward.passes) > 1 and any(one.scale is None for one in backward.passes):
            self._notes.remark(self._steps.current, *SEVERAL_CALLS)
        remark = self._misfit(one) if one.is_audited else None
        if remark is not None:
            self._tells_forms, one.scale = False, None
        elif self._tells_forms:
            remark = self._options.told.remark(one.scale, one.num_examples)
        if remark is not None:
            self._notes.remark(self._steps.current, *remark)
        if self.way is Way.GROUPS:
            self._sums.add_group(backward)
        else:
            for one in backward.passes:
                self._sums.add_norms(self._norms(one, backward), one.factor)
        if not self._sums.keeps:
            backward.gradients = {}
        self._sums.add_gradients(backward)
        for one in backward.passes:
            one.is_done, self._versions = True, one.recording.versions

    @staticmethod
    def _misfit(one: ForwardPass) -> tuple[str, str] | None:
        """Why the scale that was found does not hold, by plain autograd of single examples' losses."""
        if one.scale is None or len(one.recording.gradients) != 1:
            return None
        ((position, v),) = one.recording.gradients.items()
        z = one.recording.outputs[position]
        return misfit(one.scale, z, v) if len(z) == one.num_examples else None

    def _check(self, backward: BackwardPass) -> None:
        """What one backward pass must be for its numbers to mean anything."""
        if any(one.is_done for one in backward.passes):
            raise MeasurementError("two backward passes went through one forward pass")
        if not all(one.recording.has_its_inputs for one in backward.passes):
            self._copies_inputs = True
            if any(one.is_audited or one.capture is None for one in backward.passes):
                raise MeasurementError("the model's inputs were changed in place: from here on they are copied")
        factors = [one.factor for one in backward.passes]
        if max(factors) - min(factors) > 1e-3 * max(factors):
            raise MeasurementError(
                "one backward pass went through several calls of the model whose losses have different scales"
            )
        if backward.squares is not None and not math.isfinite(float(backward.squares.sum())):
            raise MeasurementError("the gradient of the loop is not finite (an overflow, or a diverging run)")

    def _norms(self, one: ForwardPass, backward: BackwardPass) -> dict[str, Any]:
        """The per-example results of one forward pass, unscaled."""
        capture, one.capture = one.capture, None
        recording = one.recording
        if capture is not None:
            try:
                capture.finish(backward.reached)
                results = dict(capture.collector.results)
                if one.is_audited:
                    self._in_own_pass(audit, recording, results, _only(one, backward), self._choice.rehearsal.is_random)
                return {name: results[name] for name in backward.reached if name in results}
            except Exception as error:  # the thorough way decides; its own error is reported
                if capture.has_left_trace:
                    self._choice.way = Way.UNKNOWN
                else:
                    self._choice.way = Way.REPLAY
                    self._notes.remark(self._steps.current, f"observed by a second pass from here on: {error}")
        if len(backward.passes) > 1:
            raise MeasurementError(
                "one backward pass went through several calls of a model that needs a second pass each"
            )
        found: dict[str, Any] = self._in_own_pass(
            measure_again, recording, self._planner, backward.gradients, backward.sq_norms
        )
        return found

    def _in_own_pass(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run the model apart from the loop, unseen by our own hooks."""
        self._busy = True
        try:
            return function(*arguments)
        finally:
            self._busy = False

    # --------------------------------------------------------------------------------------------------------- a step

    def _end_of_step(self, step: int) -> None:
        """The step is complete: its moments into the history."""
        sums = self._sums
        usable = bool(sums.num_backward) and not self._broken
        if self._options.is_distributed and not distributed.all_are(usable, self._device):
            usable = False
        if not usable:
            if not self._broken:
                reason = "no backward pass" if self._passes else "the model was not called"
                self._notes.loss(step, f"not observed: {reason}")
            return
        self.history[step] = self._group_moments(sums) if self.way is Way.GROUPS else self._example_moments(sums)
        self._keeps = sums.num_backward > 1
        self._num_observed += 1

    def _account(self, step: int) -> None:
        """Observing ends after several observed steps in a row that failed."""
        self._failures = 0 if step in self.history else self._failures + 1
        if self._failures >= PATIENCE and not self._options.is_distributed:
            self.stop(
                f"{PATIENCE} observed steps in a row failed: observing has ended", "see the notes before this one"
            )

    def _example_moments(self, sums: StepSums) -> StepMoments:
        norms, squares = sums.sum_sq_norms(), sums.sq_norm_sums()
        num_examples = sums.num_examples
        if self._options.is_distributed:
            num_examples, norms, squares = distributed.summed(sums, norms, self._parameters)
        return step_moments(num_examples, self._parameters, norms, squares, self._options.population)

    def _group_moments(self, sums: StepSums) -> StepMoments:
        sizes, group_sq_norms = sums.sizes, sums.group_sq_norms
        squares, source = sums.sq_norm_sums(), "micro-batches of the loop"
        if self._options.is_distributed:
            sizes, group_sq_norms, squares = distributed.summed_groups(sums, self._parameters)
            source = "ranks" if len(sums.sizes) == 1 else "micro-batches of all ranks"
        if len(sizes) == 1 and sums.last is not None:
            sizes, group_sq_norms, square, source = self._in_own_pass(of_halves, sums.last)
            squares = torch.tensor([square], dtype=torch.float64)
        return group_moments(sizes, group_sq_norms, squares, self._options.population, source)

    def _recount(self) -> None:
        """An optimizer shows itself after other counting: what was recorded is not its steps."""
        told = self._steps.accumulation
        self.history.clear()
        self._notes.loss(
            0,
            f"the optimizer's first step came after {self._steps.passes} backward passes, not {told}: step 0 is left "
            "out, and steps are the optimizer's from here on",
            "pass optimizer= to have every step counted right",
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


class _Forward:
    """Hands the gradient of an output to `receive`; copies of the tensor do not take it along."""

    def __init__(self, receive: Callable[..., None], one: ForwardPass, position: int) -> None:
        self._receive, self._one, self._position = receive, one, position

    def __call__(self, gradient: Tensor) -> None:
        self._receive(self._one, self._position, gradient)


class _BeforeCast:
    """Hands on the gradient of what an output was cast from, where none arrived at the output itself.

    The node it hangs on belongs to the loop's graph: a weak reference keeps nothing alive with it.
    """

    def __init__(self, receive: Callable[..., None], one: ForwardPass, position: int, index: int) -> None:
        self._receive, self._one, self._position, self._index = receive, weakref.ref(one), position, index

    def __call__(self, gradients: tuple[Tensor | None, ...]) -> None:
        one, gradient = self._one(), gradients[self._index]
        if one is not None and gradient is not None and self._position not in one.recording.gradients:
            self._receive(one, self._position, gradient)


def _only(one: ForwardPass, backward: BackwardPass) -> dict[str, Tensor] | None:
    """The loop's gradients, where they are of one forward pass."""
    return backward.gradients if len(backward.passes) == 1 else None


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Name -> parameter, of those that require a gradient."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}
