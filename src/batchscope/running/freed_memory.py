"""What a process of ours does with the memory it frees: keep it, for the next step asks for as much again.

By default the C library gives large tensors back to the system, and every step then pays a page fault for each 4 kB of
its activations: a third of the time of a convolutional net at large batches (`python -m benchmarks.freed_memory`).
"""

from __future__ import annotations

import ctypes
import os
import sys

# Parameters of glibc's mallopt(3).
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_NEVER = -1  # as an unsigned number the largest there is
_GROW_BY = 64 * 2**20  # bytes
_SET_BY_USER = ("MALLOC_", "GLIBC_TUNABLES")
_kept = False


def keep_freed_memory() -> bool:
    """Let this process keep what it frees; whether that was possible: with glibc, whose settings the user left alone.

    For processes that are ours alone, never for one that a user's program shares. Numbers do not depend on it. In other
    threads than the first, as on Ray, tensors above 64 MB go back to the system all the same.
    """
    global _kept
    if any(name.startswith(_SET_BY_USER) for name in os.environ):
        return False
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _NEVER), (_TOP_PAD, _GROW_BY))
    mallopt = _function("mallopt")
    _kept = mallopt is not None and not any(mallopt(*one) == 0 for one in settings)
    return _kept


def return_freed_memory() -> None:
    """Give what is kept and not in use back to the system: between two cohorts, which need different tensors.

    Nothing happens in a process that keeps nothing.
    """
    trim = _function("malloc_trim") if _kept else None
    if trim is not None:
        trim(ctypes.c_size_t(0))


def _function(name: str) -> ctypes._NamedFuncPointer | None:
    """The C library's function; None where it has none of that name."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
