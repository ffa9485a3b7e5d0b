"""The numbers that this room takes. Beyond, one is a slip of a unit, and products of several would not stay finite."""

from __future__ import annotations

from batchscope.errors import InputError

LEAST, MOST = 1e-18, 1e18  # of every positive number: seconds, bytes per second, parameters, steps, money


def is_positive(value: float) -> bool:
    """Whether it is a positive number of a size that can be; False for NaN."""
    return LEAST <= value <= MOST


def check_positive(name: str, value: float) -> None:
    """Raise InputError for a number that is not positive or of no size that can be."""
    if not is_positive(value):
        raise InputError(f"{name} = {value!r}; expected a number above 0, from {LEAST:g} to {MOST:g}")


def check_batch_size(value: float) -> None:
    """Raise InputError for a batch size that is no whole number of examples."""
    if not 1 <= value <= MOST or value != round(value):
        raise InputError(f"batch_size = {value!r}; expected a whole number of examples, at least 1")
