"""The history: what observed steps came to, and why others are missing."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

from batchscope.errors import MeasurementError
from batchscope.gradients.estimands import Moments
from batchscope.gradients.observing import distributed
from batchscope.gradients.observing.halves import of_halves
from batchscope.gradients.observing.history import GroupMoments, StepMoments
from batchscope.gradients.observing.inside import CannotObserveInside
from batchscope.gradients.observing.notes import Notes
from batchscope.gradients.observing.passes import StepSums
from batchscope.gradients.observing.steps import Steps
from batchscope.gradients.subject.failures import described


class StepLog:
    """The steps of a run as they end.

    history: step -> moments. num_observed: entries made, those that were counted anew included.
    """

    def __init__(self, notes: Notes, population: float, is_distributed: bool) -> None:
        self._notes, self._population, self._is_distributed = notes, population, is_distributed
        self.history: dict[int, StepMoments] = {}
        self.num_observed = 0
        self._is_counted_anew = False
        self._failures = 0  # observed steps in a row that are missing

    def add(self, step: int, sums: StepSums, parameters: Mapping[str, Tensor], are_groups: bool) -> None:
        """The step is complete: its moments into the history. May run the model, to form groups."""
        moments = group_moments if are_groups else example_moments
        self.history[step] = moments(sums, parameters, self._population, self._is_distributed)
        self.num_observed += 1

    def withdraw(self, step: int) -> None:
        """The step turned out not to be complete, as a note says."""
        self.history.pop(step, None)

    def add_missing(self, step: int, reason: str) -> None:
        """A note that a step has no entry."""
        self._notes.loss(step, f"not observed: {reason}")

    def add_error(self, step: int, error: Exception) -> None:
        """A note that a step has no entry because of an error."""
        known = isinstance(error, MeasurementError | CannotObserveInside)
        self._notes.loss(
            step,
            f"not observed: {error}" if known else f"not observed, by {described(error)}",
            "bs.measure on the model between epochs says more",
        )

    def count_failures(self, step: int) -> int:
        """How many observed steps in a row are missing, with this one, which has ended."""
        self._failures = 0 if step in self.history else self._failures + 1
        return self._failures

    def count_anew(self, steps: Steps) -> None:
        """An optimizer shows itself after other counting: what was recorded is not its steps."""
        self._is_counted_anew = True
        self.history.clear()
        self._notes.loss(
            0,
            f"the optimizer's first step came after {steps.passes} backward passes, not {steps.accumulation}: step 0 "
            "is left out, and steps are the optimizer's from here on",
            "pass optimizer= to have every step counted right",
        )

    def is_counted_anew(self, step: int) -> bool:
        """Whether this is the step in which an optimizer showed itself, which was left out with a note."""
        return self._is_counted_anew and step == 0

    def explain_silence(self) -> None:
        """A note at the end of a run that left neither entries nor notes."""
        if not self.history and not self._notes:
            self._notes.loss(
                None,
                "nothing was observed: no backward pass followed a call of the model",
                "call the model that is observed, with gradients, inside the context",
            )


def example_moments(
    sums: StepSums, parameters: Mapping[str, Tensor], population: float, is_distributed: bool
) -> StepMoments:
    """The moments of a step from its per-example norms; over all ranks where `is_distributed`."""
    num_examples, norms, squares = sums.num_examples, sums.sum_sq_norms(), sums.sq_norm_sums()
    if is_distributed:
        num_examples, norms, squares = distributed.summed(sums, norms, parameters)
    triples = zip(parameters, norms.tolist(), squares.tolist(), strict=True)
    parts = {name: Moments(num_examples, sum_sq_norms, sq_norm_sum) for name, sum_sq_norms, sq_norm_sum in triples}
    whole = Moments.add(num_examples, parts.values())
    return StepMoments(num_examples, whole.sum_sq_norms, whole.sq_norm_sum, by_parameter=parts, population=population)


def group_moments(
    sums: StepSums, parameters: Mapping[str, Tensor], population: float, is_distributed: bool
) -> GroupMoments:
    """The moments of a step of groups: micro-batches, ranks, or the halves of a batch, by a pass of our own."""
    sizes, group_sq_norms = sums.sizes, sums.group_sq_norms
    squares, source = sums.sq_norm_sums(), "micro-batches of the loop"
    if is_distributed:
        sizes, group_sq_norms, squares = distributed.summed_groups(sums, parameters)
        source = "ranks" if len(sums.sizes) == 1 else "micro-batches of all ranks"
    whole = float(squares.sum())
    if len(sizes) == 1 and sums.last is not None:
        sizes, group_sq_norms, whole, source = of_halves(sums.last)
    return GroupMoments(
        sum(sizes),
        math.nan,
        whole,
        population=population,
        sizes=tuple(sizes),
        group_sq_norms=group_sq_norms,
        source=source,
    )
