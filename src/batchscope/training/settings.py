"""What a cohort is asked to do and what each member gives back. Plain records; no torch."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

# These act on options of `TrainingOptions`, and offer the names that they may take.
import batchscope.architectures.initialisation
import batchscope.data.order  # noqa: F401
from batchscope.errors import InputError
from batchscope.option import canonical, check_options, identity, offer
from batchscope.options import TrainingOptions
from batchscope.records.row import Evaluation, Outcome, Target
from batchscope.training.execution import STACKED, Execution
from batchscope.training.optimizers import OPTIMIZERS

offer("optimizer", OPTIMIZERS)


@dataclass(frozen=True)
class Settings(TrainingOptions):
    """All that the members of a cohort share, besides architecture and data.

    batch_size: examples per step; the last, smaller batch of an epoch counts as a step.
    target: when a member has converged, checked on the full training set `evaluations_per_epoch` times an epoch.
    stop_at_target: leave when the target is met (else train on to max_epochs, as the paper's tuning does).
    race: the step sizes of a study that race: all members end at the check at which the first of them meets the target.
    Empty: each goes on alone. They are part of the identities of trials, for a rival decides when a run ends.
    By name alone, the fields of `TrainingOptions`.

    Raises InputError for an impossible value.
    """

    batch_size: int
    target: Target
    stop_at_target: bool = field(default=True, kw_only=True)
    race: tuple[float, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise InputError(f"batch_size = {self.batch_size}; expected at least 1")
        check_options(self)

    @functools.cached_property
    def identity(self) -> str:
        """Its part in the identities of trials, as canonical JSON; that of a trial outside a race does not name it."""
        return canonical({name: value for name, value in identity(self).items() if value or name != "race"})

    @property
    def counts_correct(self) -> bool:
        """Whether steps count right answers, for the accuracy over the mini-batches of an epoch."""
        return self.target.metric == "train_accuracy_running"


@dataclass(frozen=True)
class Member:
    """One run of a cohort. step_size: for the mean loss. seed: decides initial weights and the order of the data."""

    step_size: float
    seed: int


@dataclass(frozen=True)
class MemberResult:
    """How one member's run ended.

    epochs_to_target, steps_to_target: at the first evaluation that met the target; None unless REACHED.
    history: every evaluation, the initial weights (epoch 0) first.
    message: where a run DIVERGED, or why it was CENSORED before its epochs ran out; empty otherwise.
    execution: how the members of the cohort were run.
    """

    member: Member
    outcome: Outcome
    epochs_to_target: float | None
    steps_to_target: int | None
    history: tuple[Evaluation, ...]
    message: str = ""
    execution: Execution = field(default=Execution(STACKED))  # frozen: one for all
