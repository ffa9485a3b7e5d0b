"""A stand-in for `train_cohort`: gradient descent on a quadratic, noise of size step_size / B, in closed form.

Deterministic in (architecture, data, settings, member), instant, and with the shapes of real studies: larger step
sizes are faster until they diverge, small ones run out of epochs, large batches take fewer steps of more use.
"""

from __future__ import annotations

import hashlib
import math
import os
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any

from batchscope.records.row import Evaluation, Outcome
from batchscope.training.settings import Member, MemberResult, Settings


def train_cohort(
    architecture: Any,
    dataset: Any,
    settings: Settings,
    members: Sequence[Member],
    *,
    device: str = "cpu",
    on_epoch: Callable[[int, int], None] | None = None,
    checkpoint: str | None = None,
) -> list[MemberResult]:
    del device, checkpoint
    _misbehave(architecture, settings)
    time.sleep(float(os.environ.get("FAKE_SECONDS", "0")))
    if on_epoch is not None:
        on_epoch(1, len(members))
    return [_train(architecture, dataset.num_examples, settings, member) for member in members]


def _misbehave(architecture: Any, settings: Settings) -> None:
    """FAKE_TROUBLE = "raise:B", "die:B" (always) or "die-once:B:FILE" at the cells of batch size B."""
    trouble, _, rest = os.environ.get("FAKE_TROUBLE", "").partition(":")
    size, _, file = rest.partition(":")
    if not trouble or settings.batch_size != int(size):
        return
    if trouble == "raise":
        raise ValueError("the loss turned purple")
    if trouble == "die-once":
        if os.path.exists(file):
            return
        open(file, "w").close()
    os.kill(os.getpid(), signal.SIGKILL)


def _train(architecture: Any, num_examples: int, settings: Settings, member: Member) -> MemberResult:
    steps = math.ceil(num_examples / settings.batch_size)
    largest = 1.6 / architecture.depth
    history = [Evaluation(0.0, 0, 1.0, 0.1, 0.1)]
    if member.step_size >= largest:
        history.append(Evaluation(1.0, steps, math.inf, 0.1, 0.1))
        return MemberResult(member, Outcome.DIVERGED, None, None, tuple(history), "at step 3")
    rate = steps * member.step_size * (1 - member.step_size / largest) * _luck(architecture, settings, member)
    for epoch in range(1, settings.max_epochs + 1):
        loss = math.exp(-rate * epoch) + 0.01 * member.step_size / settings.batch_size
        history.append(Evaluation(float(epoch), epoch * steps, loss, 1 - loss, 1 - 1.1 * loss))
        if settings.stop_at_target and settings.target.met(loss, 1 - loss):
            return MemberResult(member, Outcome.REACHED, float(epoch), epoch * steps, tuple(history))
    last = history[-1]
    if settings.target.met(last.train_loss, last.train_accuracy):
        return MemberResult(member, Outcome.REACHED, last.epoch, last.step, tuple(history))
    return MemberResult(member, Outcome.CENSORED, None, None, tuple(history))


def _luck(architecture: Any, settings: Settings, member: Member) -> float:
    text = f"{architecture} {settings.batch_size} {member.seed}"
    draw = int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 2**32
    return 0.02 * (0.8 + 0.4 * draw)
