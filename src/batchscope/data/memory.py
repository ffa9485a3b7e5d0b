"""Arrays in memory as a data set."""

from __future__ import annotations

import dataclasses

import numpy as np

from batchscope.data.dataset import Array, Dataset, RawData
from batchscope.data.standardise import default_scheme, prepare
from batchscope.errors import DataError

# One output each: as many as the largest vocabularies have words, and few enough that their network can be planned.
MAX_CLASSES = 1_000_000


def from_arrays(
    inputs: Array,
    targets: Array,
    heldout_inputs: Array | None = None,
    heldout_targets: Array | None = None,
    *,
    name: str = "arrays",
    standardise: str | None = None,
) -> Dataset:
    """Return NumPy arrays as a checked, standardised `Dataset`.

    inputs: [n, d], grey images [n, H, W] or images [n, C, H, W]. targets: whole numbers [n] are classes 0, 1, ...
    (their number is counted over both parts); floats [n] or [n, q] are regression targets, left as they are.
    standardise: as for `load`. Raises DataError for arrays that cannot be used.

    >>> from_arrays(np.eye(5), np.arange(5)).num_classes
    5
    """
    raw = raw_from_arrays(inputs, targets, heldout_inputs, heldout_targets, name=name, source="Arrays in memory.")
    return prepare(raw if standardise is None else dataclasses.replace(raw, scheme=standardise))


def raw_from_arrays(
    inputs: Array,
    targets: Array,
    heldout_inputs: Array | None = None,
    heldout_targets: Array | None = None,
    *,
    name: str,
    source: str,
) -> RawData:
    """Return the arrays as RawData; see `from_arrays`."""
    both = [targets] if heldout_targets is None else [targets, heldout_targets]
    is_regression = any(part.dtype.kind == "f" for part in both)
    inputs = _numeric(name, "inputs", inputs)
    return RawData(
        name=name,
        title=name,
        inputs=inputs,
        targets=_targets(name, targets, is_regression),
        heldout_inputs=None if heldout_inputs is None else _numeric(name, "heldout_inputs", heldout_inputs),
        heldout_targets=None if heldout_targets is None else _targets(name, heldout_targets, is_regression),
        num_classes=None if is_regression else _count_classes(name, both),
        source=source,
        scheme=default_scheme(inputs),
    )


def _count_classes(name: str, labels: list[Array]) -> int:
    last = max((int(part.max()) for part in labels if part.size and part.dtype.kind in "iu"), default=0)
    if last >= MAX_CLASSES:
        raise DataError(
            f"{name}: a label is {last}; expected classes 0, 1, ... below {MAX_CLASSES}, one output of the network for "
            "each: number them anew, or give floats for regression"
        )
    return 1 + last


def _numeric(name: str, key: str, array: Array) -> Array:
    if array.dtype.kind not in "iuf" or array.ndim < 2:
        raise DataError(
            f"{name}: {key} are {array.dtype} of shape {array.shape}; expected numbers [n, d] or [n, C, H, W]"
        )
    return array[:, None] if array.ndim == 3 else array


def _targets(name: str, array: Array, is_regression: bool) -> Array:
    if array.dtype.kind not in "iuf":
        raise DataError(f"{name}: targets are {array.dtype}; expected whole numbers (classes) or floats (regression)")
    if array.ndim not in (1, 2):
        raise DataError(f"{name}: targets have the shape {array.shape}; expected [n], or [n, q] for regression")
    if not is_regression:
        return array
    return (array[:, None] if array.ndim == 1 else array).astype(np.float64)
