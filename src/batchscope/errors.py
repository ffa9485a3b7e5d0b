"""Every error a user can cause, with one voice: what came, what was expected, how to mend it."""

from __future__ import annotations

import difflib
import math
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


LONGEST_SHOWN = 120  # characters of a value in a message


def shown(value: object) -> str:
    """Return a value as messages show it: as Python writes it, cut where it is long.

    >>> shown("a" * 1000)[-10:], shown(10**5000)
    ('aaaaaa ...', 'an integer of about 5001 digits')
    """
    if isinstance(value, int) and abs(value) >= 10**LONGEST_SHOWN:
        return f"an integer of about {math.floor(math.log10(abs(value))) + 1} digits"
    try:
        text = repr(value[: 2 * LONGEST_SHOWN] if isinstance(value, str | bytes) else value)
    except (ValueError, RecursionError):  # too long an integer, or too deep a list, somewhere in it
        return f"a {type(value).__name__}"
    return f"{text[:LONGEST_SHOWN]} ..." if len(text) > LONGEST_SHOWN else text


def closest(name: str, valid: Iterable[str]) -> str:
    """Return a hint such as ``did you mean 'relu'? `` or, with nothing near, the list of valid names."""
    names = [str(v) for v in valid]
    near = difflib.get_close_matches(str(name)[:LONGEST_SHOWN], names, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(map(repr, names))}"


def choose(kind: str, name: str, valid: Iterable[str]) -> str:
    """Return `name` if it is one of `valid`; raise InputError naming the closest valid one otherwise."""
    names = list(valid)
    if name not in names:
        raise InputError(f"unknown {kind} {shown(name)}: {closest(name, names)}")
    return name
