"""The step that the loop is in: its passes so far, and what they add up to."""

from __future__ import annotations

from torch import nn

from batchscope.errors import MeasurementError
from batchscope.gradients.observing.loop_gradients import LoopGradients
from batchscope.gradients.observing.passes import BackwardPass, ForwardPass, StepSums

NOT_CALLED = (
    "no call of the model was seen (calls of its parts, of `forward` itself and from compiled code are not seen)"
)


class StepUnderWay:
    """Filled by the hooks of the watcher, and begun anew at the end of every observed step.

    parameters: name -> parameter, of those that are trained. passes: forward passes, in order; active: the one that is
    running. backward: the pass that is running. sums: over the backward passes that have ended; versions: of the
    parameters in them. hooks: on the parameters, while they are needed. thread: in which its passes run.
    is_broken: whether it cannot be observed. why: the reason that it is missing, if it will be.
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
        self.sums = StepSums(tuple(self.parameters), self.may_have_several or self._is_distributed)
        self.versions: int | None = None
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
            self.versions = None
            self.sums = StepSums(self.sums.names, self.sums.keeps)
            return
        self.has_several = True
        if not self.sums.keeps:
            self.sums.recover(self.parameters, done[-1].factor)

    def _are_gone(self) -> bool:
        # a gradient may be zero on its own (LoRA at its start): look at one that was not
        reached = [self.parameters[name] for name in self.sums.reached()]
        smallest = min(reached, key=lambda p: p.numel(), default=None)
        return smallest is not None and (smallest.grad is None or not bool(smallest.grad.any()))

    def end(self) -> None:
        """What the next steps can learn of this one, which is complete."""
        self.has_several |= self.sums.num_backward > 1


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Name -> parameter, of those that require a gradient."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}
