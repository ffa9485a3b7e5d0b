"""What every hook in the loop goes through: whatever goes wrong in here, the loop goes on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch

from batchscope.gradients.observing.notes import Notes
from batchscope.gradients.observing.step_log import StepLog
from batchscope.gradients.observing.step_under_way import StepUnderWay
from batchscope.gradients.observing.steps import Steps
from batchscope.gradients.subject.state import unseen


class Guard:
    """guard(function, *arguments): an error becomes a note, and the step under way is not observed."""

    def __init__(self, step: StepUnderWay, steps: Steps, notes: Notes, log: StepLog) -> None:
        self._step, self._steps, self._notes, self._log = step, steps, notes, log

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments) if not torch._C._len_torch_dispatch_stack() else unseen(function, *arguments)
        except Exception as error:
            self._step.is_broken = True
            if self._notes.is_strict:
                self._step.drop()
                raise
            # Saying what went wrong may go wrong too (no memory is left, warnings are errors): the loop matters more.
            with contextlib.suppress(Exception):
                self._log.add_error(self._steps.current, error)
        return None
