"""What the callbacks of all trainers share: one observed run, its latest noise scale, what is said of it, its record.

First law, as in `observe`: nothing in here may end or change a training run. The callbacks' hooks are `harmless`.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import nn

from batchscope.analysis import BatchRule, BatchSchedule
from batchscope.analysis.noise_advice import BEYOND, MOST_EXTRA_EXAMPLES, hint, warning
from batchscope.errors import InputError
from batchscope.gradients.observing import (
    NoiseWindow,
    Note,
    Notes,
    StepMoments,
    noise_curve,
    noise_window,
    observe,
)
from batchscope.gradients.observing.curve import SHORTEST
from batchscope.gradients.observing.history import draw, packed, unpacked, write_csv

RECENT = 32  # observed steps that the logged noise scale pools: more lag behind, fewer have wide intervals (assumption)
H = TypeVar("H", bound=Callable[..., None])


class BatchSizeWarning(UserWarning):
    """The batch is larger than the noise scale supports; said once in a run."""


class BatchSizeHint(UserWarning):
    """The batch could be larger; said once in a run."""


class NoiseRecord:
    """The noise scale of a run under a trainer; the callbacks are this and the trainer's hooks.

    every: steps of the optimizer between observations. csv: a file that the record is written to when training ends,
        whatever loggers there are.
    beyond: warn once when the batch is more than so many times the noise scale, all of its interval. most_extra: hint
        once when a larger batch costs at most this share more examples.
    grow: set the accumulation of micro-batches by this rule, or by the schedule of an earlier run; None: leave it.
    options: of `bs.observe`, such as population= or reduction=.

    `history`: the trainer's step -> moments, also of the part of the run before a resume. `notes`: what was not
    observed and why. InputError for numbers out of range.
    """

    def __init__(
        self,
        every: int = 50,
        *,
        csv: str | Path | None = None,
        beyond: float = BEYOND,
        most_extra: float = MOST_EXTRA_EXAMPLES,
        grow: BatchRule | BatchSchedule | None = None,
        **options: Any,
    ) -> None:
        if not isinstance(every, int) or every < 1 or not beyond > 0 or not most_extra > 0:
            raise InputError(
                f"every={every!r}, beyond={beyond!r}, most_extra={most_extra!r}: expected a whole number of at least "
                "1, and numbers above 0"
            )
        self.every, self.csv, self.grow = every, csv, grow
        self._limits, self._options = (beyond, most_extra), options
        self._earlier: dict[int, StepMoments] = {}
        self._said: list[str] = []  # of which kinds; kept over a resume
        self._observed: observe | None = None
        self._offset = self._seen = 0
        self._notes = Notes()

    @property
    def history(self) -> dict[int, StepMoments]:
        """The trainer's step, the one that was done before it (0: the first) -> moments."""
        here = {} if self._observed is None else self._observed.history
        return self._earlier | {self._offset + step: moments for step, moments in here.items()}

    @property
    def notes(self) -> tuple[Note, ...]:
        """What was not observed and why, and what to know about the numbers."""
        return (*self._notes, *(() if self._observed is None else self._observed.notes))

    def noise_scale_curve(self, level: float = 0.95, spread: float = 2.0) -> tuple[NoiseWindow, ...]:
        """The noise scale along the run; see `bs.observe`."""
        return noise_curve(self._estimates(), level, spread)

    def latest(self) -> NoiseWindow | None:
        """The noise scale of the latest observed steps, None before there are some."""
        estimates = [(step, noise) for step, noise in self._estimates() if math.isfinite(noise.trace_covariance)]
        return noise_window(estimates[-RECENT:]) if estimates else None

    def to_csv(self, path: str | Path) -> None:
        """One line per observed step; `bs.schedule` reads it."""
        write_csv(path, self.history, self.noise_scale_curve())

    def plot(self, axes: Any = None) -> Any:
        """Draw the curve with matplotlib; returns the axes."""
        return draw(self.noise_scale_curve(), axes)

    # ---------------------------------------------------------------------------------------- called by the callbacks

    def begin(self, model: nn.Module, optimizer: torch.optim.Optimizer | None, step: int) -> None:
        """Training begins, or goes on, at a step of the trainer."""
        self.end()
        self._earlier = {at: moments for at, moments in self.history.items() if at < step}
        self._observed, self._offset, self._seen = None, step, 0
        observed = observe(model, self.every, optimizer=optimizer, **self._options)
        self._observed = observed.__enter__()

    def after_step(self, processes: int = 1) -> dict[str, float]:
        """What to log after a step: nothing where it was not observed. processes: among which a batch is split."""
        if self._observed is None or len(self._observed.history) == self._seen:
            return {}
        self._seen = len(self._observed.history)
        window, moments = self.latest(), next(reversed(self._observed.history.values()))
        if window is None:
            return {}
        size = float(moments.num_examples * processes)
        if window.num_steps >= SHORTEST:
            self._say("warning", BatchSizeWarning, warning(size, window, self._limits[0]))
            self._say("hint", BatchSizeHint, hint(size, window, self._limits[1]))
        found = {
            "noise_scale": window.value, "noise_scale_low": window.low, "noise_scale_high": window.high,
            "batch_size": size, "sq_norm_mean": moments.noise.sq_norm_mean,
            "trace_covariance": moments.noise.trace_covariance,
        }  # fmt: skip
        return {f"batchscope/{name}": value for name, value in found.items() if math.isfinite(value)}

    def accumulation(self, step: int, current: int, processes: int = 1) -> int:
        """Micro-batches for the steps from here on; `current` where the rule has nothing to go by.

        Of several processes all must ask, whatever became of their own observing: they follow the first.
        """
        if isinstance(self.grow, BatchSchedule):
            return self.grow.accumulation_at(step)
        try:
            own = self._own_accumulation(current, processes)
        except Exception as error:
            self.failed(error)
            own = current
        return _of_rank_0(own) if processes > 1 else own

    def _own_accumulation(self, current: int, processes: int) -> int:
        window, latest = self.latest(), next(reversed(self.history.values()), None)
        if not isinstance(self.grow, BatchRule) or window is None or latest is None or window.num_steps < SHORTEST:
            return current
        return self.grow.accumulation(window, latest.num_examples * processes / current, current)

    def end(self) -> None:
        """Training is over, in whatever way: leave the model, write the file."""
        if self._observed is None:
            return
        self._observed.__exit__(None, None, None)
        if self.csv is not None and self.history and _is_rank_0():
            self.to_csv(self.csv)

    def packed(self) -> dict[str, Any]:
        """For a checkpoint: plain numbers and texts."""
        return {"history": packed(self.history), "said": list(self._said)}

    def unpack(self, state: Mapping[str, Any]) -> None:
        """Go on from what `packed` gave."""
        self._earlier, self._said = unpacked(state["history"]), list(state["said"])

    def failed(self, error: Exception) -> None:
        """Something went wrong in here: a note and, the first time, a warning."""
        self._notes.loss(None, f"not recorded, by {type(error).__name__}: {error}", "the run goes on without it")

    def _estimates(self) -> list[tuple[int, Any]]:
        return [(step, moments.noise) for step, moments in self.history.items()]

    def _say(self, what: str, kind: type[UserWarning], text: str | None) -> None:
        if text is not None and what not in self._said and _is_rank_0():
            self._said.append(what)
            warnings.warn_explicit(text, kind, "batchscope", 0)  # no line of the user's or ours caused it


def _is_rank_0() -> bool:
    """Whether this process speaks and writes for all."""
    return not (dist.is_available() and dist.is_initialized()) or dist.get_rank() == 0


def _of_rank_0(number: int) -> int:
    """The first process's number, on all of them: each one that went its own way would wait for the others for ever."""
    if not (dist.is_available() and dist.is_initialized()):
        return number
    told = torch.tensor([number], device="cuda" if dist.get_backend() == "nccl" else "cpu")
    dist.broadcast(told, 0)
    return int(told)


class HasRecord:
    """A callback with a record. `NoiseRecord`'s results are the callback's own, so that users need not know of it."""

    record: NoiseRecord

    @property
    def history(self) -> dict[int, StepMoments]:
        """See `NoiseRecord.history`."""
        return self.record.history

    @property
    def notes(self) -> tuple[Note, ...]:
        """See `NoiseRecord.notes`."""
        return self.record.notes

    def noise_scale_curve(self, level: float = 0.95, spread: float = 2.0) -> tuple[NoiseWindow, ...]:
        """See `NoiseRecord.noise_scale_curve`."""
        return self.record.noise_scale_curve(level, spread)

    def plot(self, axes: Any = None) -> Any:
        """See `NoiseRecord.plot`."""
        return self.record.plot(axes)

    def to_csv(self, path: str | Path) -> None:
        """See `NoiseRecord.to_csv`."""
        self.record.to_csv(path)

    def __str__(self) -> str:
        windows = map(str, self.noise_scale_curve())
        return "\n".join([f"{len(self.history)} observed steps", *windows, *map(str, self.notes)])


def harmless(hook: H) -> H:
    """A callback's hook that lets no error through: it becomes a note, and the training run goes on."""

    @functools.wraps(hook)
    def guarded(self: HasRecord, *arguments: Any, **named: Any) -> None:
        try:
            hook(self, *arguments, **named)
        except Exception as error:
            try:
                self.record.failed(error)
            except Exception:  # saying so may go wrong too, where warnings are errors: the run matters more
                return

    return cast(H, guarded)
