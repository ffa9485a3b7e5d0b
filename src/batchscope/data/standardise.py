"""From raw arrays to a `Dataset`: statistics of the training part, applied to both parts."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchscope.data.dataset import Array, Dataset, RawData, Standardisation, check_record, fingerprint
from batchscope.errors import DataError, choose

SCHEMES = ("per_channel", "per_feature", "global", "none", "raw", "tokens")
_CHUNK_BYTES = 2**21  # float64 working copy that stays in a core's cache


def default_scheme(inputs: Array) -> str:
    """Return "per_channel" for images [n, C, H, W], "per_feature" for flat features [n, d]."""
    return "per_channel" if inputs.ndim == 4 else "per_feature"


def prepare(raw: RawData) -> Dataset:
    """Check `raw`, standardise its inputs and return the `Dataset`. Raises DataError, see `Dataset`."""
    choose("standardise", raw.scheme, SCHEMES)
    if raw.scheme == "tokens":
        _check_tokens(raw)
    check_record(raw)  # before the statistics: one NaN would spoil them all
    target_type: type[np.float32 | np.int64] = np.float32 if raw.num_classes is None else np.int64
    with ThreadPoolExecutor(max_workers=1) as pool:  # hashing takes as long as the arithmetic, and needs no GIL
        mark = pool.submit(fingerprint, raw.inputs, raw.targets, raw.heldout_inputs, raw.heldout_targets, raw.scheme)
        standardisation = statistics(raw)
        inputs = apply(standardisation, raw.inputs)
        heldout_inputs = None if raw.heldout_inputs is None else apply(standardisation, raw.heldout_inputs)
    return Dataset(
        name=raw.name,
        inputs=inputs,
        targets=raw.targets.astype(target_type),
        heldout_inputs=heldout_inputs,
        heldout_targets=None if raw.heldout_targets is None else raw.heldout_targets.astype(target_type),
        num_classes=raw.num_classes,
        fingerprint=mark.result(),
        standardisation=standardisation,
        source=raw.source,
        title=raw.title,
    )


def statistics(raw: RawData) -> Standardisation:
    """Return mean and standard deviation of the training inputs, one per group of the scheme, in float64.

    One pass: var = E[(x - s)^2] - (E[x] - s)^2 with s the mean of the first examples, which makes the subtraction
    harmless however far the data is from 0.
    """
    if raw.scheme in ("none", "raw", "tokens"):
        unit = raw.unit if raw.scheme == "none" else 1.0
        return Standardisation(raw.scheme, unit=unit, target_scale=raw.target_scale)
    grouped = _grouped(raw.inputs, raw.scheme)
    shift = next(_chunks(grouped)).mean(axis=(0, 2), keepdims=True)
    total = np.zeros(shift.size)
    squares = np.zeros(shift.size)
    for chunk in _chunks(grouped):
        chunk -= shift
        total += chunk.sum(axis=(0, 2))
        squares += np.einsum("ngr,ngr->g", chunk, chunk)
    count = grouped.shape[0] * grouped.shape[2]
    variance = squares / count - (total / count) ** 2
    mean = shift.ravel() + total / count
    # Rounding leaves a constant group with a spread of about 1e-16 of its size, squared of either sign: that is none.
    is_constant = variance <= (1e-12 * mean) ** 2
    std = np.sqrt(np.where(is_constant, raw.unit**2, variance))
    mean_in_units, std_in_units = (tuple((array / raw.unit).tolist()) for array in (mean, std))
    return Standardisation(raw.scheme, mean_in_units, std_in_units, raw.unit, raw.target_scale)


def apply(standardisation: Standardisation, raw_inputs: Array) -> NDArray[Any]:
    """Return (raw_inputs / unit - mean) / std as float32, in the shape of `raw_inputs`; tokens as int64."""
    if standardisation.scheme == "tokens":
        return np.ascontiguousarray(raw_inputs, dtype=np.int64)
    if standardisation.scheme in ("none", "raw"):
        return np.ascontiguousarray(raw_inputs / standardisation.unit, dtype=np.float32)
    grouped = _grouped(raw_inputs, standardisation.scheme)
    # Bytes and short integers are exact in float32; anything else is centred in float64 before it is rounded.
    working: type[np.floating[Any]] = np.float32 if raw_inputs.dtype.itemsize <= 2 else np.float64
    mean = np.array(standardisation.mean, dtype=np.float64)[:, None] * standardisation.unit
    scale = 1.0 / (np.array(standardisation.std, dtype=np.float64)[:, None] * standardisation.unit)
    result = np.empty(grouped.shape, dtype=np.float32)
    np.subtract(grouped, mean.astype(working), out=result, dtype=working, casting="same_kind")
    result *= scale.astype(np.float32)
    return result.reshape(raw_inputs.shape)


def _check_tokens(raw: RawData) -> None:
    whole = raw.inputs.dtype.kind in "iu" or bool((raw.inputs == np.floor(raw.inputs)).all())
    if raw.inputs.ndim != 2 or not whole or raw.inputs.min(initial=0) < 0:
        raise DataError(
            f"{raw.name}: as tokens, inputs are {raw.inputs.dtype} of shape {raw.inputs.shape}; expected whole numbers "
            "[n, T] from 0 on"
        )


def _grouped(inputs: Array, scheme: str) -> Array:
    """View `inputs` as [n, groups, entries of a group]; each group has one mean and one standard deviation."""
    n = len(inputs)
    if scheme == "per_channel":
        return inputs.reshape(n, inputs.shape[1], -1)
    return inputs.reshape(n, -1, 1) if scheme == "per_feature" else inputs.reshape(n, 1, -1)


def _chunks(grouped: Array) -> Iterator[NDArray[np.float64]]:
    step = max(1, _CHUNK_BYTES // (8 * grouped.shape[1] * grouped.shape[2]))
    for start in range(0, len(grouped), step):
        yield grouped[start : start + step].astype(np.float64)
