"""Initial weights: the named schemes, drawn with NumPy so that one seed gives the same network on every device.

Fans follow the common convention: a weight of shape [out, in, *kernel] has fan_in = in * prod(kernel) and
fan_out = out * prod(kernel). Biases start at 0 (as in Keras), gains of normalisation layers at 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from batchscope.errors import choose
from batchscope.option import offer

AS_MADE = "as_made"  # no scheme: `build` leaves the weights as the module draws them
# Scheme -> (distribution, source).
INITIALISATIONS: dict[str, str] = {
    "glorot_uniform": "U(-a, a), a = sqrt(6 / (fan_in + fan_out)); Glorot & Bengio 2010, the default of Keras",
    "he": "N(0, 2 / fan_in); He et al. 2015",
    "fan_in": "N(0, 1 / fan_in); LeCun et al. 1998",
    "standard_normal": "N(0, 1); the theorems of Chen et al. 2018",
}
offer(
    "initialisation", {**INITIALISATIONS, AS_MADE: "what the network's own code draws, after torch.manual_seed(seed)"}
)

# Apart from the common streams of batchscope/data/seeding.py, which came later: drawn there, every seed would give
# other initial weights than the stored results began from. No stream there can meet it: they are Philox under a spawn
# key, this is PCG64 under an entropy of two words.
_STREAM = 0x1A17


def weight_std(scheme: str, fan_in: int, fan_out: int) -> float:
    """Return the standard deviation of one weight under `scheme`.

    >>> weight_std("he", fan_in=50, fan_out=7)
    0.2
    """
    choose("initialisation", scheme, INITIALISATIONS)
    variance = {
        "glorot_uniform": 2 / (fan_in + fan_out),
        "he": 2 / fan_in,
        "fan_in": 1 / fan_in,
        "standard_normal": 1.0,
    }[scheme]
    return math.sqrt(variance)


def initial_values(shapes: Mapping[str, tuple[int, ...]], scheme: str, seed: int) -> dict[str, NDArray[np.float64]]:
    """Draw the initial value of every parameter, in the order of `shapes` (parameter name -> shape).

    Parameters of two or more dimensions are weights; of the others those named ``*weight`` (gains of normalisation
    layers) are 1 and the rest (biases) 0. Returns float64 arrays; the caller casts.
    """
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, _STREAM))))
    return {name: _draw(name, shape, scheme, rng) for name, shape in shapes.items()}


def _draw(name: str, shape: tuple[int, ...], scheme: str, rng: np.random.Generator) -> NDArray[np.float64]:
    if len(shape) < 2:
        return np.full(shape, 1.0 if name.endswith("weight") else 0.0)
    receptive = math.prod(shape[2:])
    std = weight_std(scheme, shape[1] * receptive, shape[0] * receptive)
    if scheme == "glorot_uniform":
        return rng.uniform(-math.sqrt(3) * std, math.sqrt(3) * std, shape)
    return rng.normal(0.0, std, shape)
