"""Every error a user can cause, with one voice: what came, what was expected, how to mend it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BatchscopeError(Exception):
    """Base of all errors batchscope raises on purpose; the command line prints it as one message.

    exit_status: of the command line then.
    """

    exit_status = 2


class InputError(BatchscopeError, ValueError):
    """A value that cannot be used: a misspelt name, a number out of range, an impossible combination."""


class DataError(BatchscopeError, ValueError):
    """A data file that is missing, truncated, corrupt or of the wrong shape."""


class MeasurementError(BatchscopeError, ValueError):
    """A measurement that would be meaningless: coupled examples, a wrong rule, data that changes between passes."""


class StoreError(BatchscopeError, RuntimeError):
    """A results directory that cannot be written, is in use by another run, or holds another study."""


class RunError(BatchscopeError, RuntimeError):
    """A run that could not go on for reasons outside its input: memory ran out, a process died."""

    exit_status = 1


def closest(name: str, valid: Iterable[str]) -> str:
    """Return a hint such as ``did you mean 'relu'? `` or, with nothing near, the list of valid names."""
    names = [str(v) for v in valid]
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(map(repr, names))}"


def choose(kind: str, name: str, valid: Iterable[str]) -> str:
    """Return `name` if it is one of `valid`; raise InputError naming the closest valid one otherwise."""
    names = list(valid)
    if name not in names:
        raise InputError(f"unknown {kind} {name!r}: {closest(name, names)}")
    return name
