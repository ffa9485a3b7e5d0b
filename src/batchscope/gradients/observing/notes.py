"""Notes: whatever goes wrong in observing, said once, while the training run goes on."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import overload

from batchscope.errors import MeasurementError

MOST_NOTES = 100  # distinct ones; a run of days must not fill its memory with them


class ObserveWarning(UserWarning):
    """Something could not be observed; the run goes on. `observed.notes` says what, and what to do."""


@dataclass(frozen=True)
class Note:
    """Why something was not observed, or what to know about the numbers.

    step: the first step concerned; None: the whole run. reason: what happened. remedy: what to do about it; "" when
    there is nothing to do. times: how often it happened.
    """

    step: int | None
    reason: str
    remedy: str = ""
    times: int = 1

    def __str__(self) -> str:
        where = "the run" if self.step is None else f"step {self.step}"
        often = f" ({self.times} times)" if self.times > 1 else ""
        return f"{where}{often}: {self.reason}" + (f"; {self.remedy}" if self.remedy else "")


class Notes(Sequence[Note]):
    """The notes of a run in the order in which they arose; the same reason again counts one up.

    The first one that means a loss gives a Python warning. strict: every such note raises MeasurementError instead.
    """

    def __init__(self, strict: bool = False) -> None:
        self._notes: dict[str, Note] = {}
        self.is_strict = strict
        self._has_warned = False

    @overload
    def __getitem__(self, index: int) -> Note: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Note]: ...
    def __getitem__(self, index: int | slice) -> Note | Sequence[Note]:
        return list(self._notes.values())[index]

    def __len__(self) -> int:
        return len(self._notes)

    def __iter__(self) -> Iterator[Note]:
        return iter(list(self._notes.values()))

    def __repr__(self) -> str:
        return "[" + ", ".join(f"<{note}>" for note in self) + "]"

    def __str__(self) -> str:
        return "\n".join(map(str, self)) if self._notes else "no notes"

    def loss(self, step: int | None, reason: str, remedy: str = "", cause: Exception | None = None) -> None:
        """Something was not observed: a note and, the first time, a warning; an error when strict."""
        if self.is_strict:
            raise MeasurementError(f"{reason}; {remedy}" if remedy else reason) from cause
        note = self.remark(step, reason, remedy)
        if not self._has_warned:
            self._has_warned = True
            warnings.warn(f"observe, {note}. The run goes on; see observed.notes", ObserveWarning, stacklevel=2)

    def remark(self, step: int | None, reason: str, remedy: str = "") -> Note:
        """Something to know about the numbers: a note without a warning."""
        known = self._notes.get(reason)
        note = replace(known, times=known.times + 1) if known else Note(step, reason, remedy)
        if known or len(self._notes) < MOST_NOTES:
            self._notes[reason] = note
        return note
