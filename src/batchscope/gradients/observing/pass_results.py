"""From a backward pass of the loop to its share in the sums of its step."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

from torch import Tensor

from batchscope.errors import MeasurementError
from batchscope.gradients.backward.collect import Result
from batchscope.gradients.backward.planner import Planner
from batchscope.gradients.observing.auditing import audit
from batchscope.gradients.observing.choosing import Choice, Way
from batchscope.gradients.observing.inside import InsideCapture
from batchscope.gradients.observing.loss_forms import Scale, derive_again
from batchscope.gradients.observing.notes import Notes
from batchscope.gradients.observing.passes import BackwardPass, ForwardPass, StepSums
from batchscope.gradients.observing.replay import measure_again
from batchscope.gradients.observing.scale import Told, misfit

SEVERAL_CALLS = (
    "one backward pass went through several calls of the model: the examples of each call count as examples of their "
    "own, also where the loss joins them (two views of an example, triplets)",
    "where they belong together, observe a module that takes them in one call",
)
Answer = TypeVar("Answer")


class PassResults:
    """Adds backward passes to sums, each by the way of `choice`, and keeps what one teaches for the next.

    is_busy: in a pass of our own. copies_inputs: whether the loop or the model has changed inputs in place.
    """

    def __init__(self, choice: Choice, notes: Notes, planner: Planner, told: Told) -> None:
        self._choice, self._notes, self._planner, self._told = choice, notes, planner, told
        self.is_busy = self.copies_inputs = False
        self._last_scale: Scale | None = None
        self._tells_forms = True  # whether the form of the loss is told from its gradients

    def in_own_pass(self, function: Callable[..., Answer], *arguments: Any) -> Answer:
        """function(*arguments), which runs the model apart from the loop, unseen by our own hooks."""
        self.is_busy = True
        try:
            return function(*arguments)
        finally:
            self.is_busy = False

    def find_scale(self, one: ForwardPass, z: Tensor, v: Tensor) -> None:
        """Tell the scale of the loss from the gradient v that arrived at the output z, where that is possible."""
        if one.scale is None and z.ndim and self._tells_forms:
            one.scale = derive_again(self._last_scale, z, v)
            self._last_scale = one.scale or self._last_scale

    def add(self, backward: BackwardPass, sums: StepSums, step: int) -> None:
        """Add a backward pass through observed calls to the sums of its step; MeasurementError where its numbers would
        mean nothing."""
        self._check(backward)
        self._settle_scale(backward, step)
        if self._choice.way is Way.GROUPS:
            sums.add_group(backward)
        else:
            for one in backward.passes:
                sums.add_norms(self._norms(one, backward, step), one.factor)
        if not sums.keeps:
            backward.gradients = {}
        sums.add_gradients(backward)
        for one in backward.passes:
            one.is_done = True

    def _check(self, backward: BackwardPass) -> None:
        """What one backward pass must be for its numbers to mean anything."""
        if any(one.is_done for one in backward.passes):
            raise MeasurementError("two backward passes went through one forward pass")
        if not all(one.recording.has_its_inputs for one in backward.passes):
            self.copies_inputs = True
            if any(one.needs_gradients for one in backward.passes):
                raise MeasurementError("the model's inputs were changed in place: from here on they are copied")
        factors = [one.factor for one in backward.passes]
        if max(factors) - min(factors) > 1e-3 * max(factors):
            raise MeasurementError(
                "one backward pass went through several calls of the model whose losses have different scales"
            )
        if backward.squares is not None and not math.isfinite(float(backward.squares.sum())):
            raise MeasurementError("the gradient of the loop is not finite (an overflow, or a diverging run)")

    def _settle_scale(self, backward: BackwardPass, step: int) -> None:
        """Believe the scale that was found, or what the user told, and say what is doubtful about it."""
        one = backward.passes[0]
        if len(backward.passes) > 1 and any(other.scale is None for other in backward.passes):
            self._notes.remark(step, *SEVERAL_CALLS)
        remark = _misfit(one) if one.is_audited else None
        if remark is not None:
            self._tells_forms, one.scale = False, None
        elif self._tells_forms:
            remark = self._told.remark(one.scale, one.num_examples)
        if remark is not None:
            self._notes.remark(step, *remark)

    def _norms(self, one: ForwardPass, backward: BackwardPass, step: int) -> dict[str, Result]:
        """The per-example results of one forward pass, unscaled."""
        capture, one.capture = one.capture, None
        if capture is not None:
            try:
                return self._captured(capture, one, backward)
            except Exception as error:  # the thorough way decides; its own error is reported
                if capture.has_left_trace:
                    self._choice.way = Way.UNKNOWN
                else:
                    self._choice.way = Way.REPLAY
                    self._notes.remark(step, f"observed by a second pass from here on: {error}")
        if len(backward.passes) > 1:
            raise MeasurementError(
                "one backward pass went through several calls of a model that needs a second pass each"
            )
        return self.in_own_pass(measure_again, one.recording, self._planner, backward.gradients, backward.sq_norms)

    def _captured(self, capture: InsideCapture, one: ForwardPass, backward: BackwardPass) -> dict[str, Result]:
        """What was formed in the loop's own passes; audited where it is the turn of this pass."""
        capture.finish(backward.reached)
        results = dict(capture.collector.results)
        if one.is_audited:
            loop = backward.gradients if len(backward.passes) == 1 else None
            self.in_own_pass(audit, one.recording, results, loop, self._choice.rehearsal.is_random)
        return {name: results[name] for name in backward.reached if name in results}


def _misfit(one: ForwardPass) -> tuple[str, str] | None:
    """Why the scale that was found does not hold, by plain autograd of single examples' losses."""
    if one.scale is None or len(one.recording.gradients) != 1:
        return None
    ((position, v),) = one.recording.gradients.items()
    z = one.recording.outputs[position]
    return misfit(one.scale, z, v) if len(z) == one.num_examples else None
