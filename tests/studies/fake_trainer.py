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
from pathlib import Path
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
    del device
    _note(f"{os.getpid()} {settings.batch_size}")
    _misbehave(settings, checkpoint, on_epoch)
    if checkpoint is not None and Path(checkpoint).is_file():
        from batchscope.training.checkpoint import read_whole  # when torch has been replaced

        read_whole(Path(checkpoint))  # sets a damaged one aside; there is nothing in a whole one
    time.sleep(float(setting("FAKE_SECONDS", "0")))
    if on_epoch is not None:
        on_epoch(1, len(members))
    return [_train(architecture, dataset.num_examples, settings, member) for member in members]


def setting(name: str, absent: str = "") -> str:
    """A setting of a test: in the environment, or in the file named there by FAKE_SETTINGS, one NAME=VALUE a line.

    Workers of a running cluster have the environment of the time when it was started.
    """
    if name in os.environ:
        return os.environ[name]
    path = Path(os.environ.get("FAKE_SETTINGS", "missing"))
    lines = path.read_text().splitlines() if path.is_file() else []
    return dict(line.split("=", 1) for line in lines).get(name, absent)


def _note(line: str) -> None:
    """Add a line to FAKE_LOG: who trained what, in the order of beginning."""
    if file := setting("FAKE_LOG"):
        with open(file, "a") as log:
            log.write(f"{line}\n")


def _misbehave(settings: Settings, checkpoint: str | None, on_epoch: Callable[[int, int], None] | None) -> None:
    """FAKE_TROUBLE = "WHAT:B:FILE" at the cells of batch size B; see TROUBLES."""
    trouble, _, rest = setting("FAKE_TROUBLE").partition(":")
    size, _, file = rest.partition(":")
    if trouble and settings.batch_size == int(size):
        TROUBLES[trouble](Path(file), checkpoint, on_epoch)


def _raise(*_: Any) -> None:
    raise ValueError("the loss turned purple")


def _die(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _exit(*_: Any) -> None:
    os._exit(7)


def _wait(file: Path, *_: Any) -> None:
    """Until the file is there, which may take a minute."""
    end = time.monotonic() + 60
    while not file.exists():
        if time.monotonic() > end:
            raise TimeoutError(f"{file} did not come")
        time.sleep(0.01)


def _once(end: Callable[..., None]) -> Callable[..., None]:
    """Unless the file is there, which is made."""

    def trouble(file: Path, *_: Any) -> None:
        if not file.exists():
            file.touch()
            end()

    return trouble


def _die_after_state(file: Path, checkpoint: str | None, on_epoch: Callable[[int, int], None] | None) -> None:
    """Keep a state, die when it lies in the folder `file`; begun again, note whether that state came back."""
    assert checkpoint is not None
    assert on_epoch is not None
    path = Path(checkpoint)
    if path.exists():
        _note(f"resumed {path.read_text().splitlines()[0]}")
        return
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"half-way\nsha256 {hashlib.sha256(b'half-way').hexdigest()}")  # as training/checkpoint.py seals
    on_epoch(1, 1)
    while not list(file.glob("*.pt")):
        time.sleep(0.01)
    _die()


TROUBLES: dict[str, Callable[..., None]] = {
    "raise": _raise,
    "die": _die,
    "exit": _exit,
    "wait": _wait,
    "die-once": _once(_die),
    "exit-once": _once(_exit),
    "die-after-state": _die_after_state,
}


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
        if settings.stop_at_target and settings.target.met(history[-1]):
            return MemberResult(member, Outcome.REACHED, float(epoch), epoch * steps, tuple(history))
    last = history[-1]
    if settings.target.met(last):
        return MemberResult(member, Outcome.REACHED, last.epoch, last.step, tuple(history))
    return MemberResult(member, Outcome.CENSORED, None, None, tuple(history))


def _luck(architecture: Any, settings: Settings, member: Member) -> float:
    text = f"{architecture} {settings.batch_size} {member.seed}"
    draw = int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 2**32
    return 0.02 * (0.8 + 0.4 * draw)
