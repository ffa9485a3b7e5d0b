"""Gisette in the text form of the NIPS 2003 feature selection challenge and in LIBSVM's sparse form.

I. Guyon, S. Gunn, A. Ben-Hur, G. Dror, "Gisette", UCI Machine Learning Repository (2004), doi:10.24432/C5HP5B.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchscope.data.readers.compressed import read_bytes
from batchscope.errors import DataError

NUM_FEATURES, MAX_VALUE = 5000, 999


def read_challenge_pair(data: Path, labels: Path) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
    """Return patterns [n, 5000] (whole numbers 0..999) and classes [n]: 0 for label -1 (digit 9), 1 for label 1."""
    patterns = _read_table(data)
    if patterns.shape[1] != NUM_FEATURES:
        raise DataError(f"{data}: {patterns.shape[1]} numbers a line; expected {NUM_FEATURES}")
    if patterns.min() < 0 or patterns.max() > MAX_VALUE:
        raise DataError(f"{data}: values from {patterns.min()} to {patterns.max()}; expected 0 to {MAX_VALUE}")
    signs = _read_table(labels)
    if len(signs) != len(patterns) or signs.shape[1] != 1:
        raise DataError(
            f"{labels}: labels of shape {signs.shape} for {len(patterns)} patterns of {data}; expected one each"
        )
    return patterns, _classes(labels, signs[:, 0])


def read_libsvm_file(path: Path) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return patterns [n, 5000] and classes [n] of a file of `label index:value ...` lines, indices from 1."""
    from sklearn.datasets import load_svmlight_file  # imported on use: about a second

    contents = read_bytes(path)
    try:
        patterns, signs = load_svmlight_file(io.BytesIO(contents), n_features=NUM_FEATURES, zero_based=False)
    except (ValueError, OverflowError) as error:
        raise DataError(f"{path}: not a LIBSVM file of up to {NUM_FEATURES} features ({error})") from error
    return patterns.toarray(), _classes(path, signs)


def _read_table(path: Path) -> NDArray[np.int16]:
    text = read_bytes(path)
    try:
        table = np.loadtxt(io.BytesIO(text), dtype=np.int16, ndmin=2)
    except (ValueError, OverflowError) as error:
        raise DataError(f"{path}: expected whole numbers parted by blanks, as many on every line ({error})") from error
    if table.size == 0:
        raise DataError(f"{path}: no lines; expected whole numbers parted by blanks")
    return table


def _classes(path: Path, signs: NDArray[Any]) -> NDArray[np.int64]:
    strange = sorted(set(np.unique(signs).tolist()) - {-1, 1})
    if strange:
        raise DataError(f"{path}: labels {strange[:5]}; expected -1 and 1 only")
    return (signs > 0).astype(np.int64)
