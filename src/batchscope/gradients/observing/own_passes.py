"""Passes of our own, apart from the loop's, and the loop's other threads meanwhile.

Which thread calls the model tells a pass of our own from the loop's: another thread of the loop (an evaluation, a
second worker on the same weights) may call it at the same time. That is asked of calls alone: on a CUDA device,
gradients arrive in threads of autograd's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

import torch

Answer = TypeVar("Answer")


class OwnPasses:
    """Runs the model apart from the loop, unseen by our own hooks.

    has_guests: whether several threads of the loop have called the model with gradients within a step.
    """

    def __init__(self) -> None:
        self._thread: int | None = None
        self.has_guests = False

    @property
    def are_running(self) -> bool:
        """Whether a pass of our own runs, in any thread."""
        return self._thread is not None

    def is_guest(self, thread: int | None) -> bool:
        """Whether the model is called by another thread than the one that runs passes of our own; if none does, than
        the given one, in which the step's passes run (None: not known yet).
        """
        if torch._C._current_graph_task_id() >= 0:  # a checkpoint's second pass, in whichever thread autograd has
            return False
        expected = self._thread or thread
        return expected is not None and expected != threading.get_ident()

    def run(self, function: Callable[..., Answer], *arguments: Any) -> Answer:
        """function(*arguments), which runs the model."""
        self._thread = threading.get_ident()
        try:
            return function(*arguments)
        finally:
            self._thread = None

    def own_gradients(self) -> bool:
        """Whether nobody else can have written `.grad` meanwhile."""
        return not self.has_guests
