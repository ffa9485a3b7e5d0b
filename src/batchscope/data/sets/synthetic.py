"""`synthetic`: regression on a deep linear teacher, as in Chen et al. (2018)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from batchscope.data.dataset import RawData
from batchscope.data.registry import check_generated, generated
from batchscope.data.seeding import Stream, generator
from batchscope.errors import InputError, shown


@generated("synthetic", "generated: normal inputs, a deep linear teacher (10 000 + 2000 held out, regression)")
def synthetic(
    *,
    seed: int = 0,
    num_examples: int = 10_000,
    num_heldout: int = 2_000,
    d_in: int = 100,
    d_out: int = 1,
    teacher_widths: Sequence[int] = (20,),
    noise: float = 0.0,
    normalise_targets: bool = True,
) -> RawData:
    """Return regression data of a deep linear teacher: x ~ N(0, I_d), y = W_L ... W_1 x / scale + noise * e.

    The synthetic set of Chen et al. (2018): 10 000 points, inputs and teacher weights N(0, 1). The paper states
    neither d_in nor the teacher's shape: 100 inputs and one hidden layer of 20 units are assumptions.

    teacher_widths: units of the teacher's hidden layers, () for a single matrix. normalise_targets: divide the
    noise-free targets by their standard deviation over the training part (one scale for all outputs), so that a
    loss means the same for every teacher; recorded as `standardisation.target_scale`. Without it targets grow like
    the square root of the product of all widths. noise: standard deviation of the Gaussian label noise e ~ N(0, 1),
    added after the scaling. The teacher depends on `seed` and the shapes only, not on the number of examples.
    """
    sizes = (d_in, *teacher_widths, d_out)
    if min(*sizes, num_examples, num_heldout) < 1 or not 0 <= noise < math.inf:
        raise InputError(
            f"synthetic: layer sizes {shown(sizes)}, {shown(num_examples)} + {shown(num_heldout)} examples, "
            f"noise {shown(noise)}; "
            "expected sizes and numbers of examples >= 1 and a finite noise >= 0"
        )
    matrices = d_in**2 + sum(a * b + b * d_in for a, b in itertools.pairwise(sizes))
    check_generated("synthetic", (num_examples + num_heldout) * (d_in + d_out) + matrices)
    teacher = _teacher(sizes, seed)
    inputs = [
        generator(seed, Stream.SYNTHETIC, 1, part).normal(size=(n, d_in))
        for part, n in enumerate((num_examples, num_heldout))
    ]
    clean = [x @ teacher.T for x in inputs]
    scale = float(np.sqrt(clean[0].var(axis=0).mean())) if normalise_targets else 1.0
    errors = [noise * generator(seed, Stream.SYNTHETIC, 2, part).normal(size=y.shape) for part, y in enumerate(clean)]
    targets = [(y / scale + e).astype(np.float32) for y, e in zip(clean, errors, strict=True)]
    scaling = f"divided by {scale:.6g} (unit variance)" if normalise_targets else "as they come"
    return RawData(
        name="synthetic",
        title="Synthetic (deep linear teacher)",
        inputs=inputs[0].astype(np.float32),
        targets=targets[0],
        heldout_inputs=inputs[1].astype(np.float32),
        heldout_targets=targets[1],
        num_classes=None,
        source=f"Generated: x ~ N(0, I), linear teacher {'-'.join(map(str, sizes))} with N(0, 1) weights, targets "
        f"{scaling}, label noise {noise:g}, seed {seed}. After L. Chen et al., NeurIPS 2018.",
        scheme="none",
        target_scale=scale,
    )


def _teacher(sizes: Sequence[int], seed: int) -> NDArray[np.float64]:
    """Return the product W_L ... W_1 [d_out, d_in] of N(0, 1) matrices between consecutive `sizes`."""
    draw = generator(seed, Stream.SYNTHETIC, 0)
    product = np.eye(sizes[0])
    for fan_in, fan_out in itertools.pairwise(sizes):
        product = draw.normal(size=(fan_out, fan_in)) @ product
    return product
