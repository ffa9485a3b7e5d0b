"""Cohorts: all members of one architecture and batch size trained together, each exactly as it would be alone.

Members with one seed (the grid of step sizes) share initial weights and batches; members with different seeds have
their own. A member that meets the target or diverges leaves the cohort, and the rest go on without it; in a race the
first to meet the target ends all.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from batchscope.architectures import Architecture
from batchscope.data import Dataset, epoch_order
from batchscope.errors import InputError
from batchscope.records.row import OUTRUN, Evaluation, Outcome
from batchscope.training.checkpoint import Checkpoint
from batchscope.training.engine import Engine, Scores
from batchscope.training.engine_choice import make_engine, mode_of
from batchscope.training.execution import Execution
from batchscope.training.parallel import ONE_RANK, Ranks
from batchscope.training.schedule import step_size_factor
from batchscope.training.settings import Member, MemberResult, Settings

OnEpoch = Callable[[int, int], None]
# Steps between looking for losses that are not finite: on CUDA a look waits for the device.
LOOK_EVERY = {"cpu": 1, "cuda": 50}


def train_cohort(
    architecture: Architecture,
    dataset: Dataset,
    settings: Settings,
    members: Sequence[Member],
    *,
    device: str = "cpu",
    on_epoch: OnEpoch | None = None,
    checkpoint: str | Path | None = None,
    ranks: Ranks = ONE_RANK,
    execution: Execution | str | None = None,
) -> list[MemberResult]:
    """Train every member until it meets the target, diverges, or has had `settings.max_epochs` epochs.

    Args:
        architecture: a network of any family, with as many inputs and outputs as the data set.
        members: step size and seed of each run.
        device: "cpu", "cuda", "cuda:1", ...
        on_epoch: called after each epoch with (epochs done, members still running).
        checkpoint: a file to keep the state in between epochs, and to go on from if it is there; an epoch of five
            seconds or more is always kept. It stays behind: remove it when the results are safe.
        ranks: the processes among which every batch is split; all of them make this call.
        execution: how members trained as modules are run, also as the text that rows keep; None times three steps of
            each way and takes the fastest.

    Returns:
        One result per member, in the order given. A member's numbers do not depend, up to rounding, on its company;
        in a race its end does.

    Raises:
        InputError: no members, a batch larger than the data or smaller than the number of ranks, or an architecture
        or settings that do not fit the data.
    """
    _check(architecture, dataset, settings, members, ranks)
    kept = Checkpoint.of(checkpoint, architecture, settings, members, writes=ranks.rank == 0)
    saved = kept.load()
    with mode_of(architecture, settings, ranks):
        how = saved["execution"] if saved else execution
        how = Execution.parse(how) if isinstance(how, str) else how
        cohort = RunningCohort(architecture, dataset, settings, members, torch.device(device), ranks, how)
        begin = cohort.resume(saved) if saved else cohort.begin()
        for epoch in range(begin, settings.max_epochs):
            if not cohort.running:
                break
            cohort.train_epoch(epoch)
            kept.save(functools.partial(cohort.state, epoch + 1))
            if on_epoch:
                on_epoch(epoch + 1, len(cohort.running))
    return cohort.results()


class RunningCohort:
    """The running members: their engine, histories and outcomes."""

    def __init__(
        self,
        architecture: Architecture,
        dataset: Dataset,
        settings: Settings,
        members: Sequence[Member],
        device: torch.device,
        ranks: Ranks = ONE_RANK,
        execution: Execution | None = None,
    ) -> None:
        self.settings, self.members, self.device, self.ranks = settings, list(members), device, ranks
        self.num_examples = dataset.num_examples
        self.steps = math.ceil(self.num_examples * settings.passes_per_epoch / settings.batch_size)
        self.running = list(range(len(members)))
        self.histories: list[list[Evaluation]] = [[] for _ in members]
        self.reached: dict[int, Evaluation] = {}
        self.diverged: set[int] = set()
        self.engine: Engine = make_engine(architecture, dataset, settings, members, device, ranks, execution)

    @property
    def shares_batches(self) -> bool:
        """Whether all members have one seed, and so one order of the data."""
        return len({member.seed for member in self.members}) == 1

    def begin(self) -> int:
        """Evaluate the initial weights; return the first epoch."""
        self.evaluate(epoch=0.0, step=0)
        return 0

    def train_epoch(self, epoch: int) -> None:
        """One epoch, with its evaluations; stops early when no member is left."""
        steps, batch_size = self.steps, self.settings.batch_size
        checks = {math.ceil(steps * k / self.settings.evaluations_per_epoch) for k in self._evaluations()}
        looks = LOOK_EVERY.get(self.device.type, 1)
        self.engine.begin_epoch(epoch)
        order = self.order(epoch)
        for step in range(1, steps + 1):
            if self.settings.is_scheduled:
                self.engine.scale_step_sizes(step_size_factor(self.settings, epoch * steps + step, steps))
            self.engine.step(order[..., (step - 1) * batch_size : step * batch_size])
            before = len(self.running)
            if step % looks == 0 or step in checks:
                self._drop_failures(epoch * steps + 1, steps)
            if step in checks and self.running:
                self.evaluate(epoch + step / steps, epoch * steps + step)
            if not self.running:
                return
            if len(self.running) < before:
                order = self.order(epoch)

    def evaluate(self, epoch: float, step: int) -> None:
        """Check every running member on the full training set; let go of those that are done."""
        scores = self.engine.evaluate()
        every = self.settings.diversity_every
        nothing: list[float | None] = [None] * len(scores)
        counted = self.settings.counts_correct and step > 0 and epoch == int(epoch)
        running = self.engine.running_accuracies() if counted else [math.nan] * len(scores)
        bounds = self.engine.bounds() if every and epoch % every == 0 else nothing
        noises = self.engine.noise_scales() or nothing
        done = []
        for position, member in enumerate(self.running):
            state = _evaluation(epoch, step, scores[position], bounds[position], noises[position])
            state = dataclasses.replace(state, train_accuracy_running=running[position])
            ends = self._ends(member, state)
            if (ends or epoch == self.settings.max_epochs) and math.isnan(state.heldout_loss):
                accuracy, loss = self.engine.heldout(position)
                state = dataclasses.replace(state, heldout_accuracy=accuracy, heldout_loss=loss)
            self.histories[member].append(state)
            if ends:
                done.append(position)
        is_over = bool(self.settings.race and self.reached)
        self._release(range(len(scores)) if is_over else done)

    def results(self) -> list[MemberResult]:
        """One result per member, in the order in which they were given."""
        return [self._result(index) for index in range(len(self.members))]

    def order(self, epoch: int) -> Tensor:
        """The examples of an epoch in order, [n P] where members share batches, else [E, n P], P passes an epoch."""
        seeds = [self.members[index].seed for index in self.running]
        order = (
            self._passes(seeds[0], epoch) if self.shares_batches else np.stack([self._passes(s, epoch) for s in seeds])
        )
        return torch.from_numpy(order).to(self.device)

    def _passes(self, seed: int, epoch: int) -> NDArray[np.int64]:
        """The passes of an epoch, one after another; a batch may lie across the border of two."""
        passes = self.settings.passes_per_epoch
        numbers = range(epoch * passes, (epoch + 1) * passes)
        return np.concatenate([epoch_order(self.num_examples, seed, k, self.settings.sampling) for k in numbers])

    def state(self, epoch: int) -> dict[str, object]:
        """What `resume` needs, `epoch` being the next to train."""
        return {
            "epoch": epoch,
            "execution": str(self.engine.execution),
            "running": self.running,
            "histories": [[dataclasses.astuple(entry) for entry in history] for history in self.histories],
            "reached": {member: dataclasses.astuple(entry) for member, entry in self.reached.items()},
            "diverged": sorted(self.diverged),
            "engine": self.engine.state() if self.running else {},
        }

    def resume(self, state: dict[str, object]) -> int:
        """Go on from `state`; return the next epoch to train."""
        saved: dict[str, Any] = state
        self.histories = [[Evaluation(*entry) for entry in history] for history in saved["histories"]]
        self.reached = {member: Evaluation(*entry) for member, entry in saved["reached"].items()}
        self.diverged = set(saved["diverged"])
        self._keep(saved["running"])
        if self.running:
            self.engine.load(saved["engine"])
        return int(saved["epoch"])

    def _evaluations(self) -> range:
        return range(1, self.settings.evaluations_per_epoch + 1)

    def _ends(self, member: int, state: Evaluation) -> bool:
        if not math.isfinite(state.train_loss):
            self.diverged.add(member)
            return True
        if state.step and member not in self.reached and self.settings.target.met(state):
            self.reached[member] = state
        return member in self.reached and self.settings.stop_at_target

    def _drop_failures(self, first_step: int, steps: int) -> None:
        """End the members whose loss was not finite at some step of this epoch, at that step."""
        failures = self.engine.failures()
        for position, number in failures.items():
            step = first_step + number
            member = self.running[position]
            self.histories[member].append(Evaluation(step / steps, step, math.nan))
            self.diverged.add(member)
        self._release(list(failures))

    def _release(self, done: Sequence[int]) -> None:
        if done:
            self._keep([member for position, member in enumerate(self.running) if position not in done])

    def _keep(self, members: Sequence[int]) -> None:
        positions = [self.running.index(member) for member in members]
        if positions and len(positions) < len(self.running):
            self.engine.select(positions)
        self.running = list(members)

    def _result(self, index: int) -> MemberResult:
        history, reached = tuple(self.histories[index]), self.reached.get(index)
        member, execution = self.members[index], self.engine.execution
        if index in self.diverged:
            message = f"training loss {history[-1].train_loss} at epoch {history[-1].epoch:g}, step {history[-1].step}"
            return MemberResult(member, Outcome.DIVERGED, None, None, history, message, execution)
        if reached is None:
            stopped_early = self.settings.race and self.reached and history[-1].epoch < self.settings.max_epochs
            message = OUTRUN if stopped_early else ""
            return MemberResult(member, Outcome.CENSORED, None, None, history, message, execution)
        return MemberResult(member, Outcome.REACHED, reached.epoch, reached.step, history, execution=execution)


def _evaluation(epoch: float, step: int, scores: Scores, bound: float | None, noise: float | None) -> Evaluation:
    return Evaluation(
        epoch,
        step,
        scores.train_loss,
        scores.train_accuracy,
        scores.heldout_accuracy,
        bound,
        noise,
        heldout_loss=scores.heldout_loss,
        train_metric=scores.train_metric,
    )


def _check(
    architecture: Architecture, dataset: Dataset, settings: Settings, members: Sequence[Member], ranks: Ranks
) -> None:
    if not members:
        raise InputError("a cohort has no members; expected at least one step size and seed")
    if settings.batch_size > dataset.num_examples:
        raise InputError(
            f"batch size {settings.batch_size} is larger than the data set {dataset.name!r} ({dataset.num_examples} "
            "examples); choose batch sizes up to that number"
        )
    if settings.batch_size < ranks.size:
        raise InputError(
            f"batch size {settings.batch_size} cannot be split over {ranks.size} processes; expected at least one "
            "example for each: raise the batch size or start fewer processes"
        )
    if (architecture.d_in, architecture.d_out) != (dataset.d_in, dataset.d_out):
        raise InputError(
            f"{architecture.label} takes {architecture.d_in} numbers to {architecture.d_out}, but {dataset.name!r} has "
            f"{dataset.d_in} per example and {dataset.d_out} outputs; solve the shape for this data set"
        )
    if settings.dtype == "bfloat16" and not architecture.kind.takes_images:
        raise InputError("dtype 'bfloat16' is for families of images; use float32 or float64")
    if settings.batchnorm_shares not in {1, ranks.size} and ranks.size > 1:
        raise InputError(
            f"batchnorm_shares = {settings.batchnorm_shares} on {ranks.size} processes; expected 1 (statistics over "
            f"the whole batch) or {ranks.size} (each process its own)"
        )
