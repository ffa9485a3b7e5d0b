"""From a backward pass of the loop to its share in the sums of its step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from batchscope.errors import MeasurementError
from batchscope.gradients.backward.collect import Result
from batchscope.gradients.backward.planner import Planner
from batchscope.gradients.observing.auditing import audit
from batchscope.gradients.observing.choosing import Choice, Way
from batchscope.gradients.observing.inside import InsideCapture
from batchscope.gradients.observing.loss_forms import Scale, derive_again
from batchscope.gradients.observing.notes import Notes
from batchscope.gradients.observing.own_passes import OwnPasses
from batchscope.gradients.observing.passes import BackwardPass, ForwardPass, StepSums
from batchscope.gradients.observing.replay import check_sums, measure_again, version_of
from batchscope.gradients.observing.scale import Told, misfit
from batchscope.gradients.subject.failures import message_of

SEVERAL_CALLS = (
    "one backward pass went through several calls of the model: the examples of each call count as examples of their "
    "own, also where the loss joins them (two views of an example, triplets)",
    "where they belong together, observe a module that takes them in one call",
)
DIFFERENT_SCALES = (
    "the losses of the model's outputs have different scales (weights of several tasks): an example's loss is taken to "
    "be the loop's weighted sum of them, of which the loop takes the mean over examples",
    "say reduction= and loss_scale= where that is not so; ratios such as the noise scale do not depend on it",
)
PARTLY_KNOWN = (
    "gradients arrived at several outputs of the model: the scale that one of them shows is taken for all",
    "say reduction= and loss_scale= where that is not so; ratios such as the noise scale do not depend on it",
)
ALIKE = 1e-3  # relative, of scales


class PassResults:
    """Adds backward passes to sums, each by the way of `choice`, and keeps what one teaches for the next.

    copies_inputs: whether the loop or the model has changed inputs in place.
    """

    def __init__(self, choice: Choice, own: OwnPasses, notes: Notes, planner: Planner, told: Told) -> None:
        self._choice, self._own, self._notes, self._planner, self._told = choice, own, notes, planner, told
        self.copies_inputs = False
        self._last_scales: dict[int, Scale] = {}  # of each output
        self._tells_forms = True  # whether the form of the loss is told from its gradients

    def add(self, backward: BackwardPass, sums: StepSums, step: int) -> None:
        """Add a backward pass through observed calls to the sums of its step; MeasurementError where its numbers would
        mean nothing."""
        self._check(backward)
        said = [self._find_scale(one, step) for one in backward.passes]
        self._check_scales(backward)
        self._settle_scale(backward, step, any(said))
        if self._choice.way is Way.GROUPS:
            sums.add_group(backward)
        else:
            found = [self._norms(one, backward, step) for one in backward.passes]
            if len(found) > 1 and all(one.is_audited for one in backward.passes):
                check_sums(_joined(found), backward.gradients, backward.passes[0].recording.is_low)
            for one, results in zip(backward.passes, found, strict=True):
                sums.add_norms(results, one.factor)
                if one.row_sums is not None:
                    sums.add_sums(*one.row_sums, one.factor)
        sums.add_gradients(backward)
        for one in backward.passes:
            one.is_done = True

    def _check(self, backward: BackwardPass) -> None:
        """What one backward pass must be for its numbers to mean anything."""
        if any(one.is_done for one in backward.passes):
            raise MeasurementError("two backward passes went through one forward pass")
        first = backward.passes[0]
        if first.is_audited and len(list(first.recording.model.parameters())) != first.recording.num_parameters:
            raise MeasurementError(
                "the model made parameters in its forward pass: it is observed from the next step on"
            )
        if not all(one.recording.has_its_inputs for one in backward.passes):
            self.copies_inputs = True
            if any(one.needs_gradients for one in backward.passes):
                raise MeasurementError("the model's inputs were changed in place: from here on they are copied")
        if backward.squares is not None and not math.isfinite(float(backward.squares.sum())):
            raise MeasurementError("the gradient of the loop is not finite (an overflow, or a diverging run)")

    def _find_scale(self, one: ForwardPass, step: int) -> bool:
        """Tell the scale of the loss from the gradients that arrived at the outputs, where that is possible; whether a
        note says that they have none in common."""
        if not self._tells_forms:
            return False
        scales = {position: self._scale_at(one, position) for position in one.recording.told_by()}
        known = [scale for scale in scales.values() if scale is not None]
        factors = [scale.factor for scale in known]
        if known and max(factors) - min(factors) > ALIKE * max(factors):
            self._notes.remark(step, *DIFFERENT_SCALES)
            return True
        if known:
            one.scale = known[0]
            if len(known) < len(scales):
                self._notes.remark(step, *PARTLY_KNOWN)
        return False

    def _scale_at(self, one: ForwardPass, position: int) -> Scale | None:
        z, v = one.recording.outputs[position], one.recording.gradients[position]
        if z._version != one.recording.output_versions[position]:  # no longer what the gradient belongs to
            return None
        scale = derive_again(self._last_scales.get(position), z, v)
        if scale is not None:
            self._last_scales[position] = scale
        return scale

    @staticmethod
    def _check_scales(backward: BackwardPass) -> None:
        factors = [one.factor for one in backward.passes]
        if max(factors) - min(factors) > ALIKE * max(factors):
            raise MeasurementError(
                "one backward pass went through several calls of the model whose losses have different scales"
            )

    def _settle_scale(self, backward: BackwardPass, step: int, is_said: bool) -> None:
        """Believe the scale that was found, or what the user told, and say what is doubtful unless `is_said`."""
        one = backward.passes[0]
        if len(backward.passes) > 1 and any(other.scale is None for other in backward.passes):
            self._notes.remark(step, *SEVERAL_CALLS)
        remark = _misfit(one) if one.is_audited else None
        if remark is not None:
            self._tells_forms, one.scale = False, None
        elif self._tells_forms and not is_said:
            remark = self._told.remark(one.scale, one.num_examples)
        if remark is not None:
            self._notes.remark(step, *remark)

    def _norms(self, one: ForwardPass, backward: BackwardPass, step: int) -> dict[str, Result]:
        """The per-example results of one forward pass, unscaled."""
        capture, one.capture = one.capture, None
        if capture is not None:
            try:
                return self._captured(capture, one, backward, step)
            except Exception as error:  # the thorough way decides; its own error is reported
                if capture.has_left_trace:
                    self._choice.way = Way.UNKNOWN
                else:
                    self._choice.way = Way.REPLAY
                    self._notes.remark(step, f"observed by a second pass from here on: {message_of(error)}")
        if len(backward.passes) > 1:
            raise MeasurementError(
                "one backward pass went through several calls of a model that needs a second pass each"
            )
        try:
            return self._own.run(measure_again, one.recording, self._planner, backward.gradients, backward.sq_norms)
        except Exception:
            self._choice.way = Way.UNKNOWN  # its inputs may be of another kind than before
            raise

    def _captured(
        self, capture: InsideCapture, one: ForwardPass, backward: BackwardPass, step: int
    ) -> dict[str, Result]:
        """What was formed in the loop's own passes; audited where it is the turn of this pass."""
        capture.finish(backward.reached)
        results = dict(capture.collector.results)
        one.row_sums = _only(backward.reached, capture.row_sums)
        if one.is_audited and one.recording.versions != version_of(one.recording.model):
            self._notes.remark(step, "not audited: the optimizer changes parameters within the backward pass")
        elif one.is_audited:
            loop = backward.gradients if len(backward.passes) == 1 else None
            self._own.run(audit, one.recording, results, loop, self._choice.rehearsal.is_random)
        return {name: results[name] for name in backward.reached if name in results}


def _only(
    reached: tuple[str, ...], sums: tuple[tuple[str, ...], Tensor] | None
) -> tuple[tuple[str, ...], Tensor] | None:
    """Of sums by parameter, those of the parameters that the loop's backward pass has reached."""
    if sums is None or set(sums[0]).issubset(reached):
        return sums
    places = [place for place, name in enumerate(sums[0]) if name in reached]
    return tuple(sums[0][place] for place in places), sums[1][places]


def _joined(found: Sequence[Mapping[str, Result]]) -> dict[str, Result]:
    """The results of several calls as those of one: norms one after another, sums added."""
    joined: dict[str, Result] = {}
    for name in dict.fromkeys(name for results in found for name in results):
        parts = [results[name] for results in found if name in results]
        norms, total = torch.cat([part.sq_norms for part in parts]), torch.stack([p.grad_sum for p in parts]).sum(0)
        joined[name] = Result(norms, total, parts[0].measured)
    return joined


def _misfit(one: ForwardPass) -> tuple[str, str] | None:
    """Why the scale that was found does not hold, by plain autograd of single examples' losses."""
    if one.scale is None or len(one.recording.gradients) != 1:
        return None
    ((position, v),) = one.recording.gradients.items()
    z = one.recording.outputs[position]
    return misfit(one.scale, z, v) if len(z) == one.num_examples else None
