"""Every random number of this room: one generator per (seed, purpose), so that no two purposes ever share numbers."""

from __future__ import annotations

import enum

import numpy as np

from batchscope.errors import InputError


class Stream(enum.IntEnum):
    """What random numbers are drawn for. The values are part of the recorded results: never renumber."""

    EPOCH_ORDER = 0
    SUBSET = 1
    SPLIT = 2
    SYNTHETIC = 3
    GISETTE_LIKE = 4
    AUGMENTATION = 5
    MODULES = 6
    GRAMMAR = 7


def generator(seed: int, stream: Stream, *key: int) -> np.random.Generator:
    """Return the Philox generator of (`seed`, `stream`, `key`); independent for every different triple.

    SeedSequence's spawn key does the separation (O'Neill 2015; Salmon et al. 2011 for Philox). Raises InputError
    unless `seed` is a whole number >= 0.
    """
    if not isinstance(seed, int | np.integer) or isinstance(seed, bool) or seed < 0:
        raise InputError(f"seed {seed!r}: expected a whole number >= 0")
    sequence = np.random.SeedSequence(int(seed), spawn_key=(int(stream), *map(int, key)))
    return np.random.Generator(np.random.Philox(sequence))
