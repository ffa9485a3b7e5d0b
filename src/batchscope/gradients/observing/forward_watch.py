"""The loop's calls of the model: recorded from their beginning until their outputs wait for gradients."""

from __future__ import annotations

import threading
from typing import Any

from torch import nn

from batchscope.gradients.observing.backward_watch import BackwardWatch
from batchscope.gradients.observing.choosing import Choice, Way
from batchscope.gradients.observing.notes import Notes
from batchscope.gradients.observing.output_hooks import await_gradients
from batchscope.gradients.observing.outputs import batch_of, tensors_of
from batchscope.gradients.observing.own_passes import OwnPasses
from batchscope.gradients.observing.pass_results import PassResults
from batchscope.gradients.observing.passes import ForwardPass
from batchscope.gradients.observing.replay import Recording
from batchscope.gradients.observing.scale import Told
from batchscope.gradients.observing.step_under_way import StepUnderWay, trainable
from batchscope.gradients.observing.steps import Steps
from batchscope.gradients.observing.walk import Walk
from batchscope.gradients.subject.state import Buffers

NO_EXAMPLES = "the model was called with a batch of no examples"
NO_BACKWARD = "no backward pass from the model to its parameters was seen (torch.autograd.grad leaves them no gradient)"
OTHER_WEIGHTS = (
    "the parameters changed between the backward passes of a step (a perturbation as in sharpness-aware "
    "minimisation): its moments are those of its first weights"
)


class ForwardWatch:
    """Records observed forward passes for the step under way."""

    def __init__(
        self, model: nn.Module, step: StepUnderWay, steps: Steps, own: OwnPasses, choice: Choice, results: PassResults,
        told: Told, notes: Notes, backwards: BackwardWatch,
    ) -> None:  # fmt: skip
        self._model, self._step, self._steps, self._own, self._choice = model, step, steps, own, choice
        self._results, self._told, self._notes, self._backwards = results, told, notes, backwards
        self._buffers: Buffers | None = None  # as they were before the last observed call

    def begin(self, args: tuple[Any, ...], kwargs: dict[str, Any], is_audited: bool, is_exact: bool) -> None:
        """An observed forward pass begins. is_exact: whether the step's gradients will be compared entry by entry."""
        step = self._step
        step.backward = None  # the last one, if it is there still, did not end: it raised
        walk = Walk.over(self._model)
        if step.is_broken or not any(p.requires_grad for p in walk.parameters):  # frozen, for another network's step
            return
        batch = batch_of(args, kwargs)
        if not batch.num_examples:
            step.why = NO_EXAMPLES
            return
        is_thorough = self._choice.way is not Way.INSIDE
        copies = self._results.copies_inputs
        recording = Recording.start(self._model, walk, batch, self._own, copies, self._buffers, is_thorough)
        self._buffers = recording.buffers
        if step.versions is not None and step.versions != recording.versions:
            self._leave_out()
            return
        step.forget_discarded(self._steps.is_optimizers)
        self._follow_parameters(walk.parameters)
        step.keep_sums(is_exact)
        self._own.run(self._choice.make, batch, step.parameters, walk.modules)
        recording.batch = self._choice.read(recording.batch)
        one = ForwardPass(recording, self._told.factor(batch.num_examples), is_audited)
        one.capture = self._choice.capture(step.parameters, batch.num_examples, norms_alone=not is_audited)
        if one.capture is not None:
            one.capture.__enter__()  # type: ignore[no-untyped-call]
        step.active, step.thread = one, threading.get_ident()

    def _leave_out(self) -> None:
        """The parameters have changed within the step: a pass at other weights is not part of it."""
        self._step.has_left_out = True
        if not self._steps.inside:  # in a closure it is the line search
            self._notes.remark(self._steps.current, OTHER_WEIGHTS)

    def _follow_parameters(self, everything: list[nn.Parameter]) -> None:
        """Which parameters are trained may change from step to step."""
        if [id(p) for p in everything if p.requires_grad] == [id(p) for p in self._step.parameters.values()]:
            return
        self._step.train_others(trainable(self._model))
        self._choice.way = Way.UNKNOWN
        self._steps.follow(self._step.parameters.values())

    def leave(self) -> None:
        """The forward pass is over: end the capturing mode."""
        one, self._step.active = self._step.active, None
        if one is None or one.capture is None:
            return
        one.capture.is_idle = True
        one.capture.leave()

    def await_gradients(self, one: ForwardPass, output: Any) -> None:
        """The forward pass has ended: wait for the gradients of its outputs."""
        if one.capture is not None:
            one.capture.is_idle = False
        outputs = [tensor for tensor in tensors_of(output) if tensor.grad_fn is not None]
        if not outputs:
            return
        one.recording.returned(outputs)
        step = self._step
        step.why = NO_BACKWARD
        # changed in place, a view loses its hook
        if step.sums.keeps or step.is_exact or any(output._is_view() for output in outputs):
            self._backwards.watch_parameters()
        await_gradients(one, self._backwards.on_output_gradient)
        step.passes.append(one)
