"""How a model is observed: in the loop's own passes, by a second pass, or by groups of examples."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from batchscope.errors import MeasurementError
from batchscope.gradients.backward.planner import Planner
from batchscope.gradients.observing.attaching import is_compiled
from batchscope.gradients.observing.inside import InsideCapture
from batchscope.gradients.observing.own_passes import OwnPasses
from batchscope.gradients.observing.rehearsal import Rehearsal, rehearse
from batchscope.gradients.subject.batches import Batch
from batchscope.gradients.subject.batchnorm import couples
from batchscope.gradients.subject.state import containers_untouched, untouched


class Way(enum.Enum):
    """How the model is observed."""

    UNKNOWN = "not known yet"
    INSIDE = "per-example gradients in the loop's own passes"
    REPLAY = "per-example gradients by a second pass"
    GROUPS = "gradients of groups of examples"
    OFF = "not observed"


class Choice:
    """The way, found on the first observed batch and again when what was learned no longer holds.

    called: the model as the loop calls it; model: inside its wrappers.
    """

    def __init__(self, called: nn.Module, model: nn.Module, planner: Planner, own: OwnPasses) -> None:
        self._called, self._model, self._planner, self._own = called, model, planner, own
        self.way = Way.UNKNOWN
        self.rehearsal = Rehearsal()

    def make(self, batch: Batch, parameters: Mapping[str, Tensor], modules: list[nn.Module]) -> None:
        """Choose for a batch; a rehearsal runs the model a few times. modules: all of the model's. MeasurementError for
        a model with lazy parameters, which take shape and initial values in the loop's own first call."""
        if any(map(couples, modules)):
            self.way = Way.GROUPS
        elif self._is_stale():
            self.way = Way.UNKNOWN
        if self.way is not Way.UNKNOWN:
            return
        if lazy := [name for name, parameter in parameters.items() if is_lazy(parameter)]:
            raise MeasurementError(
                f"{lazy[0]!r} is lazy: it takes shape in this call, and is observed from the next on"
            )
        if batch.num_examples < 2:
            return
        if is_compiled(self._model) or is_compiled(self._called):
            self.way = Way.REPLAY
            return
        with untouched(self._model, self._own.own_gradients), containers_untouched(self._model):
            self.rehearsal = rehearse(self._model, parameters, batch, self._planner)
        if self.rehearsal.is_coupled:
            self.way = Way.GROUPS
        else:
            self.way = Way.REPLAY if self.rehearsal.trace is None else Way.INSIDE

    def capture(self, parameters: Mapping[str, Tensor], num_examples: int, norms_alone: bool) -> InsideCapture | None:
        """What forms the per-example gradients in a pass of the loop over a batch; None where another way is used."""
        trace = self.rehearsal.trace
        if self.way is not Way.INSIDE or trace is None or num_examples < 2:
            return None
        return InsideCapture(parameters, trace, num_examples, self._planner, norms_alone)

    def read(self, batch: Batch) -> Batch:
        """The batch, its inputs taken as the rehearsal found."""
        if not self.rehearsal.second and not self.rehearsal.shared:
            return batch
        return replace(batch, second=self.rehearsal.second, shared=self.rehearsal.shared)

    def _is_stale(self) -> bool:
        """BatchNorm was frozen meanwhile, or the model went from training to evaluation mode."""
        if self.way is Way.GROUPS:
            return not self.rehearsal.is_coupled
        return self.way is Way.INSIDE and self.rehearsal.is_training is not self._model.training
