"""The activations Theorem 2 is evaluated for: each with its derivative, in numpy."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from batchscope.errors import choose

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Activation:
    """σ and σ', elementwise. `odd`: σ(-z) = -σ(z), smooth away from 0 and bounded by a linear function."""

    value: Callable[[Array], Array]
    derivative: Callable[[Array], Array]
    odd: bool = True


def _erf(z: Array) -> Array:
    from scipy import special  # on use: half of the room's import time, for one activation

    return np.asarray(special.erf(z))


def _tanh_derivative(z: Array) -> Array:
    decay = np.exp(-2 * np.abs(z))  # 1 - tanh² would cancel, 1/cosh² would overflow
    return np.asarray(4 * decay / (1 + decay) ** 2)


ACTIVATIONS: dict[str, Activation] = {
    "tanh": Activation(np.tanh, _tanh_derivative),
    "softsign": Activation(lambda z: z / (1 + np.abs(z)), lambda z: (1 + np.abs(z)) ** -2),
    "arctan": Activation(np.arctan, lambda z: 1 / (1 + z * z)),
    "erf": Activation(_erf, lambda z: 2 / math.sqrt(math.pi) * np.exp(-z * z)),
    "relu": Activation(lambda z: np.maximum(z, 0), lambda z: (z > 0).astype(np.float64), odd=False),
    "linear": Activation(lambda z: z, np.ones_like),
}


def activation_named(name: str) -> Activation:
    """Return the activation; InputError naming the closest known one otherwise."""
    return ACTIVATIONS[choose("activation", name, ACTIVATIONS)]
