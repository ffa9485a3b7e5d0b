"""What a cohort is asked to do and what each member gives back. Plain records; no torch."""

from __future__ import annotations

from dataclasses import dataclass

from batchscope.errors import InputError, choose
from batchscope.records.row import Evaluation, Outcome, Target

OPTIMIZERS = ("sgd", "adam")
SAMPLINGS = ("permutation", "with_replacement")
# bfloat16: autocast in convolutional nets, weights and updates in float32.
DTYPES = ("float32", "float64", "bfloat16")
AUGMENTATIONS = ("none", "pad_crop_flip")


@dataclass(frozen=True)
class Settings:
    """All that the members of a cohort share, besides architecture and data.

    batch_size: examples per step; the last, smaller batch of an epoch counts as a step.
    target: when a member has converged, checked on the full training set `evaluations_per_epoch` times an epoch.
    max_epochs: passes over the data before a member is CENSORED.
    stop_at_target: leave when the target is met (else train on to max_epochs, as the paper's tuning does).
    momentum: heavy-ball coefficient in [0, 1) of "sgd"; unused by "adam" (beta = 0.9, 0.999; eps = 1e-8).
    sampling: "permutation" (each epoch visits every example once) or "with_replacement" (Eq. 3.1 of the paper).
    diversity_every: epochs between measurements of gradient diversity; 0 for never.
    augmentation: "none", or "pad_crop_flip" of images (the target is still checked on the images as they are).
    batchnorm_shares: equal parts of a batch over each of which BatchNorm takes its statistics; 1 for the whole batch.
    """

    batch_size: int
    target: Target
    max_epochs: int
    evaluations_per_epoch: int = 1
    stop_at_target: bool = True
    optimizer: str = "sgd"
    momentum: float = 0.0
    initialisation: str = "glorot_uniform"
    sampling: str = "permutation"
    dtype: str = "float32"
    diversity_every: int = 0
    augmentation: str = "none"
    batchnorm_shares: int = 1

    def __post_init__(self) -> None:
        choose("optimizer", self.optimizer, OPTIMIZERS)
        choose("sampling", self.sampling, SAMPLINGS)
        choose("dtype", self.dtype, DTYPES)
        choose("augmentation", self.augmentation, AUGMENTATIONS)
        for name in ("batch_size", "max_epochs", "evaluations_per_epoch", "batchnorm_shares"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} = {getattr(self, name)}; expected at least 1")
        if not 0 <= self.momentum < 1:
            raise InputError(f"momentum = {self.momentum}; expected 0 <= momentum < 1")


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
    message: where a run DIVERGED; empty otherwise.
    execution: how the members of the cohort were run: "stacked", "one after another, channels_last", ...
    """

    member: Member
    outcome: Outcome
    epochs_to_target: float | None
    steps_to_target: int | None
    history: tuple[Evaluation, ...]
    message: str = ""
    execution: str = ""
