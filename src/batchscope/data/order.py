"""The order in which examples are seen: the one place where it is decided."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from batchscope.data.seeding import Stream, generator
from batchscope.errors import InputError, choose
from batchscope.option import offer

SAMPLINGS = ("permutation", "with_replacement")
offer("sampling", SAMPLINGS)


def epoch_order(num_examples: int, seed: int, epoch: int, sampling: str = "permutation") -> NDArray[np.int64]:
    """Return the indices of the examples of one epoch, int64 [num_examples], determined by (seed, epoch) alone.

    sampling: "permutation" visits every example once; "with_replacement" draws `num_examples` independent uniform
    indices (Eq. 3.1 of Chen et al. 2018). Any epoch can be had without the ones before it, so a resumed run sees
    the same batches. Raises InputError for an empty data set, a negative seed or epoch, an unknown sampling.

    >>> sorted(epoch_order(5, seed=0, epoch=3).tolist())
    [0, 1, 2, 3, 4]
    """
    choose("sampling", sampling, SAMPLINGS)
    if num_examples < 1 or epoch < 0:
        raise InputError(f"num_examples {num_examples}, epoch {epoch}: expected at least one example and epoch >= 0")
    draw = generator(seed, Stream.EPOCH_ORDER, epoch)
    if sampling == "permutation":
        return draw.permutation(num_examples).astype(np.int64, copy=False)
    return draw.integers(0, num_examples, size=num_examples, dtype=np.int64)
