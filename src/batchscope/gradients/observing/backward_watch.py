"""The loop's backward passes: the gradients that arrive at outputs and parameters, until a pass has ended."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import Variable

from batchscope.gradients.observing.guarding import Guard
from batchscope.gradients.observing.loop_gradients import LoopGradients, are_empty, held
from batchscope.gradients.observing.own_passes import OwnPasses
from batchscope.gradients.observing.pass_results import PassResults
from batchscope.gradients.observing.passes import BackwardPass, ForwardPass
from batchscope.gradients.observing.step_under_way import StepUnderWay
from batchscope.gradients.observing.steps import Steps

DIFFERENTIATED = "the gradients were formed to be differentiated again (create_graph=True)"


class BackwardWatch:
    """Adds each backward pass through observed calls to the sums of its step."""

    def __init__(self, step: StepUnderWay, steps: Steps, own: OwnPasses, results: PassResults, guard: Guard) -> None:
        self._step, self._steps, self._own, self._results, self._guard = step, steps, own, results, guard

    def on_output_gradient(self, one: ForwardPass, position: int, gradient: Tensor) -> None:
        """Hook: a gradient arrives at an output of a forward pass."""
        self._guard(self._receive, one, position, gradient)

    def watch_parameters(self) -> None:
        """From here on, gradients are read as they arrive at the parameters."""
        if self._step.hooks is None:
            self._step.hooks = LoopGradients(self._step.parameters, self._receive_parameter, self._guard)

    def _receive(self, one: ForwardPass, position: int, gradient: Tensor) -> None:
        if self._own.are_running:
            return
        if torch.is_grad_enabled():  # a derivative inside the loss
            self._step.why = DIFFERENTIATED
            return
        backward = self._step.backward or self._begin()
        if one not in backward.passes:
            backward.passes.append(one)
            one.recording.gradients = {}
        one.recording.gradients[position] = gradient

    def _begin(self) -> BackwardPass:
        self._step.look_for_writes(self._steps.is_optimizers)
        if self._step.hooks is None and not are_empty(self._step.parameters):
            self.watch_parameters()
        self._step.backward = BackwardPass([])
        Variable._execution_engine.queue_callback(self._on_end)
        return self._step.backward

    def _receive_parameter(self, name: str, gradient: Tensor) -> None:
        """The gradient of a parameter, as the loop's backward pass adds it."""
        if self._own.are_running:
            return
        backward = self._step.backward or self._begin()
        backward.add(name, gradient, self._is_needed(backward))

    def _is_needed(self, backward: BackwardPass) -> bool:
        """Whether the gradients themselves are needed, not only their norms."""
        return self._step.sums.keeps or self._step.is_exact or any(one.needs_gradients for one in backward.passes)

    def _on_end(self) -> None:
        self._guard(self._end)

    def _end(self) -> None:
        """A backward pass has ended: add it to its step."""
        step = self._step
        backward, step.backward = step.backward, None
        if backward is None or step.is_broken:
            return
        if step.hooks is None:
            backward.take(held(step.parameters), self._is_needed(backward))
        backward.finish()
        if not backward.reached:
            return
        if not backward.passes:  # outputs that were changed in place are no longer in the graph
            backward.passes = [one for one in step.passes if not one.is_done and one.recording.has_changed_outputs]
        backward.passes = [one for one in backward.passes if one in step.passes]
        if not backward.passes:
            step.has_others |= not step.has_left_out  # or it is the pass of a call at other weights
            return
        self._guard(self._add, backward)
        self._steps.add_pass()  # also one that could not be observed

    def _add(self, backward: BackwardPass) -> None:
        """Add a backward pass through observed calls to the sums of its step."""
        self._results.add(backward, self._step.sums, self._steps.current)
        self._step.versions = backward.passes[-1].recording.versions
        self._step.mark()
