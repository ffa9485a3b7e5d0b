"""The step that the loop is in: its passes so far, and what they add up to."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from batchscope.errors import MeasurementError
from batchscope.gradients.observing.loop_gradients import LoopGradients, held, is_zero
from batchscope.gradients.observing.passes import BackwardPass, ForwardPass, StepSums

NOT_CALLED = (
    "no call of the model was seen (calls of its parts, of `forward` itself and from compiled code are not seen)"
)


class StepUnderWay:
    """Filled by the hooks of the watcher, and begun anew at the end of every observed step.

    parameters: name -> parameter, of those that are trained. passes: forward passes, in order; active: the one that is
    running. backward: the pass that is running. sums: over the backward passes that have ended; versions: of the
    parameters in them. hooks: on the parameters, while they are needed. thread: in which its passes run.
    is_broken: whether it cannot be observed. why: the reason that it is missing, if it will be. is_exact: whether its
    summed gradients are kept, to be compared at its end. has_left_out: whether it has passes at other weights.
    has_others: whether a backward pass reached the parameters by another way than calls of the model, or `.grad` held
    something before the first.
    """

    def __init__(self, parameters: dict[str, nn.Parameter], is_distributed: bool) -> None:
        self.parameters, self._is_distributed = parameters, is_distributed
        self.active: ForwardPass | None = None
        self.hooks: LoopGradients | None = None
        self.passes: list[ForwardPass] = []
        self.has_several = False  # whether a step had several backward passes
        self.may_have_several = True
        self._begin()

    def _begin(self) -> None:
        self._release()
        self.backward: BackwardPass | None = None
        keeps = self.may_have_several or self._is_distributed
        self.sums = StepSums(tuple(self.parameters), keeps, self._is_distributed)
        self.versions: int | None = None
        self._marks: list[tuple[int, int]] | None = None  # of `.grad`, behind the last pass
        self._was_written = False
        self.is_exact = self.has_left_out = self.has_others = False
        self.is_broken = False
        self.thread: int | None = None
        self.why = NOT_CALLED

    def _release(self) -> None:
        for one in self.passes:
            one.release()
        self.passes = []

    def drop(self) -> None:
        """Forget the step, and take its hooks off."""
        if self.hooks is not None:
            self.hooks.remove()
        self.hooks = None
        self._begin()

    def train_others(self, parameters: dict[str, nn.Parameter]) -> None:
        """The loop trains other parameters from this step on; MeasurementError once gradients were added."""
        if self.sums.num_backward:
            raise MeasurementError("which parameters are trained changed between the backward passes of a step")
        self.drop()  # some were frozen, freed or replaced
        self.parameters = parameters
        self.sums.names = tuple(parameters)

    def forget_discarded(self, can_be: bool) -> None:
        """Passes whose gradients the loop has thrown away (zero_grad) are not part of its step; what is left has more
        than one backward pass. can_be: whether gradients of a step may be thrown away, which an optimizer's steps tell.
        """
        done = [one for one in self.passes if one.is_done]
        if not done or self.sums.num_backward == 0:
            return
        if can_be and self._are_gone():
            self._release()
            self.versions = self._marks = None
            self._was_written = self.has_others = False
            self.sums = StepSums(self.sums.names, self.sums.keeps, self.sums.is_distributed)
            self.keep_sums(self.is_exact)
            return
        self.has_several = True
        if not self.sums.keeps:
            self.sums.recover(self.parameters, done[-1].factor)

    def _are_gone(self) -> bool:
        # a gradient may be zero on its own (LoRA at its start): look at one that was not
        reached = [self.parameters[name] for name in self.sums.reached()]
        smallest = min(reached, key=lambda p: p.numel(), default=None)
        return smallest is not None and (smallest.grad is None or not bool(smallest.grad.any()))

    def keep_sums(self, is_exact: bool) -> None:
        """is_exact: whether the sums of the loop's gradients will be compared at the end of the step."""
        self.is_exact = is_exact
        if is_exact and self.sums.loop is None and not self.sums.num_backward:
            self.sums.loop = {}

    def mark(self) -> None:
        """A backward pass has added to `.grad`: from here on nothing else should."""
        self._marks = _marks_of(self.parameters)

    def look_for_writes(self, is_optimizers: bool) -> None:
        """A backward pass begins: has something written `.grad` since the last one, or since the step began?
        is_optimizers: whether an optimizer will use what is there."""
        if self._marks is None:
            left = list(held(self.parameters).values())
            self._was_written |= bool(left)
            self.has_others |= self.is_exact and is_optimizers and not all(map(is_zero, left))
        else:
            self._was_written |= self._marks != _marks_of(self.parameters)

    def was_written(self) -> bool:
        """Whether a counter shows that something but the passes has written `.grad`."""
        return self._was_written or self._marks != _marks_of(self.parameters)

    def end(self) -> None:
        """What the next steps can learn of this one, which is complete."""
        self.has_several |= self.sums.num_backward > 1


def _marks_of(parameters: Mapping[str, Tensor]) -> list[tuple[int, int]]:
    """(identity, version) of what `.grad` holds; the version grows with every operation that writes it in place."""
    gradients = [p.grad for p in parameters.values()]
    return [(0, 0) if gradient is None else (id(gradient), gradient._version) for gradient in gradients]


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Name -> parameter, of those that require a gradient."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}
