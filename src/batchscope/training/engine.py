"""What a cohort asks of whatever moves its members: steps, evaluations, and letting go of members that are done."""

from __future__ import annotations

import abc
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from batchscope.training.execution import Execution


@dataclass(frozen=True)
class Scores:
    """Mean loss and accuracy of one member over the training set and over held-out examples, and its own metric.

    An accuracy is NaN for regression; what is of held-out examples where there are none or it is left to `heldout`;
    train_metric where the study has no metric of the user's own.
    """

    train_loss: float
    train_accuracy: float
    heldout_accuracy: float = math.nan
    heldout_loss: float = math.nan
    train_metric: float = math.nan


class Engine(abc.ABC):
    """Trains the running members; positions count them from 0. Knows nothing of targets and outcomes.

    execution: how the members are run, for the record.
    """

    execution: Execution

    def begin_epoch(self, epoch: int) -> None:
        """Called before the first step of every epoch, also of a resumed one."""
        del epoch

    @abc.abstractmethod
    def scale_step_sizes(self, factor: float) -> None:
        """Multiply the members' own step sizes by `factor` from the next step on; called where they are scheduled."""

    @abc.abstractmethod
    def step(self, indices: Tensor) -> None:
        """One update of every member. indices: [B], shared, or [E, B], of examples."""

    def failures(self) -> dict[int, int]:
        """Position -> steps of this epoch done before the one at which the loss ceased to be finite."""
        return {}

    @abc.abstractmethod
    def running_accuracies(self) -> Sequence[float]:
        """Accuracy of every member over this epoch's batches so far, each before its step.

        Steps count right answers only for the target "train_accuracy_running".
        """

    @abc.abstractmethod
    def evaluate(self) -> Sequence[Scores]:
        """Scores of every member at this moment."""

    def heldout(self, position: int) -> tuple[float, float]:
        """(accuracy, loss) over held-out examples, when a member ends, if they are not part of every evaluation."""
        del position
        return math.nan, math.nan

    @abc.abstractmethod
    def bounds(self) -> Sequence[float]:
        """B_S of every member over the training set."""

    def noise_scales(self) -> Sequence[float | None]:
        """Two-batch estimates of tr Σ/‖ḡ‖² gathered since the last call, where batches are split over ranks."""
        return []

    @abc.abstractmethod
    def select(self, positions: Sequence[int]) -> None:
        """Keep these members only."""

    @abc.abstractmethod
    def state(self) -> dict[str, Any]:
        """Everything that `load` needs to go on: tensors, numbers and strings in dicts and lists."""

    @abc.abstractmethod
    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from the state of an engine with the same members."""
