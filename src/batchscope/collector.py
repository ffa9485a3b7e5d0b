"""Python's collector of reference cycles, out of the way where very many objects are made at once. No torch."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """No collection of cycles inside; for work that makes 10^5 objects and more which all stay, none in a cycle.

    The collector would walk them again and again as they grow: a sixth of the time of resuming a large study.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
