"""The row: what one training run was and what came of it. Written by studies, read by analysis and report; no torch."""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from batchscope.options import OPTIONS, ArchitectureOptions, TrainingOptions


class Outcome(enum.StrEnum):
    """How a run ended. An outcome is data: every run has exactly one, and a missing number always has one beside it."""

    REACHED = "reached"
    CENSORED = "censored"
    DIVERGED = "diverged"
    CRASHED = "crashed"

    @property
    def sentence(self) -> str:
        """What the outcome means, as a sentence."""
        return _SENTENCES[self]


# The message of a tuning run that a race ended before its epochs ran out.
OUTRUN = "stopped when another step size had met the target"

_SENTENCES = {
    Outcome.REACHED: "The target was reached.",
    Outcome.CENSORED: "The target was not reached when the epochs allowed ran out or, while tuning in a race, "
    "another step size had met it.",
    Outcome.DIVERGED: "The training loss became infinite or not a number.",
    Outcome.CRASHED: "The process running it died twice, or raised an error; see the message.",
}


ACCURACIES = ("train_accuracy", "train_accuracy_running")
OWN_METRICS = ("train_metric_at_least", "train_metric_at_most")
METRICS = (*ACCURACIES, "train_loss", "heldout_loss", *OWN_METRICS)
# Those of which more is better.
RISING = (*ACCURACIES, "train_metric_at_least")


@dataclass(frozen=True)
class Target:
    """When a run counts as converged: training accuracy at least, or training loss at most, `value`.

    metric: "train_accuracy" (fraction in (0, 1]) or "train_loss" (mean loss), over the whole training set; or
        "train_accuracy_running", the accuracy that Keras prints: over the mini-batches of an epoch, each before the
        step it leads to, known at the epoch's end. "heldout_loss": mean loss over the held-out examples.
        "train_metric_at_least", "train_metric_at_most": the mean of the user's own metric over the training set.
    """

    metric: str
    value: float

    @property
    def measured(self) -> str:
        """The field of `Evaluation` that it is about."""
        return "train_metric" if self.metric in OWN_METRICS else self.metric

    def met(self, state: Evaluation) -> bool:
        """Whether a check of it meets it; NaN never does."""
        number: float = getattr(state, self.measured)
        return number >= self.value if self.metric in RISING else number <= self.value

    @property
    def is_accuracy(self) -> bool:
        """Whether it is a fraction of right answers."""
        return self.metric in ACCURACIES

    def __str__(self) -> str:
        sign = ">=" if self.metric in RISING else "<="
        return f"{self.measured.replace('_', ' ')} {sign} {self.value:g}"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The state of a run at one check of the target, over the full training set.

    epoch: passes over the data so far (fractional when the target is checked inside an epoch).
    step: update steps so far. train_loss: mean per-example loss. *_accuracy: fraction, NaN where there is none.
    batch_size_bound: B_S = n * gradient diversity at this point (examples); None when not measured here.
    noise_scale: tr Σ/‖ḡ‖² (examples) from the steps since the last evaluation, by the two-batch estimate that training
        on several processes gives for free; None on one process.
    train_accuracy_running: over the mini-batches of the epoch that ends here; NaN elsewhere and where it is not asked
        for as the target.
    heldout_loss: mean loss over the held-out examples, NaN like heldout_accuracy. train_metric: mean of the user's own
        metric over the training set, NaN where there is none.
    """

    epoch: float
    step: int
    train_loss: float
    train_accuracy: float = math.nan
    heldout_accuracy: float = math.nan
    batch_size_bound: float | None = None
    noise_scale: float | None = None
    train_accuracy_running: float = math.nan
    heldout_loss: float = math.nan
    train_metric: float = math.nan


def _same() -> Any:
    """A field in which rows must agree to be compared; see `FIXED`."""
    return field(metadata={"fixed": True})


# slots: so many fields in a dictionary would take 2 kB and three times as long
@dataclass(frozen=True, slots=True, kw_only=True)
class Row(ArchitectureOptions, TrainingOptions):
    """One trial and its result, flat: architecture, data, settings and outcome. Given by name.

    Its options (see batchscope/options.py) are columns like those below. `trial_id` hashes everything that affects the
    numbers. What results of earlier versions did not record is None.
    """

    trial_id: str
    study: str
    protocol: str = _same()
    phase: str  # "tune" (choosing a step size) or "final" (the seeds that are reported)
    dataset: str = _same()
    data_fingerprint: str = _same()  # sha256 of the raw data, first 16 hex digits
    num_examples: int = _same()
    family: str = _same()
    shape: str  # the architecture's label, e.g. "784-17x10-10 relu"
    input_shape: tuple[int, ...] | None = field(default=None, metadata={"fixed": True})  # of one example
    d_out: int | None = field(default=None, metadata={"fixed": True})  # outputs of the network
    depth: int  # hidden layers; residual blocks in the first chunk for families *_blocks
    width: int  # units of each hidden layer; filters of the first chunk for families *_blocks
    num_weights: int
    num_parameters: int
    multiply_adds: int | None = None  # of the forward pass of one example
    batch_size: int
    step_size: float  # for the mean loss
    seed: int
    target_metric: str = _same()
    target_value: float = _same()
    stop_at_target: bool = field(default=True, metadata={"fixed": True})  # else the run went on to max_epochs
    outcome: Outcome
    epochs_to_target: float | None  # passes over the data until the target was met; None unless REACHED
    steps_to_target: int | None
    epochs_run: float
    steps_run: int
    train_loss: float | None  # at the last evaluation; None when it was not finite
    train_accuracy: float | None
    heldout_accuracy: float | None
    batch_size_bound: float | None  # B_S, mean over the measurements made while training
    heldout_loss: float | None = None  # likewise
    train_metric: float | None = None  # mean of the user's own metric, likewise
    message: str = ""  # why it CRASHED, where it DIVERGED
    seconds: float = math.nan  # the cohort's wall time divided by its members
    device: str = ""
    versions: str = ""  # "batchscope 0.1.0, torch 2.13.0, numpy 2.4.6, python 3.11.7"
    commit: str = ""
    execution: str = ""  # how the members of its cohort were run
    history: Sequence[Evaluation] = field(default=(), repr=False)  # as read from a store: loaded when looked at


# Fields in which rows must agree to be compared: rows that differ in one of them answer different questions.
FIXED = tuple(
    f.name for f in fields(Row) if f.metadata.get("fixed") or (f.name in OPTIONS and OPTIONS[f.name].compared)
)
