"""`Parameter`: one trained tensor of a network, as far as its costs go."""

from __future__ import annotations

import math
from dataclasses import dataclass

from batchscope.errors import InputError


@dataclass(frozen=True)
class Parameter:
    """One trained tensor. shape: as in the module. positions: places per example where a weight is applied.

    A weight of a linear layer is applied once per example, that of a convolution once per output pixel.
    """

    shape: tuple[int, ...]
    positions: int = 1

    @property
    def size(self) -> int:
        """Numbers in the tensor."""
        return math.prod(self.shape)

    @property
    def is_weight(self) -> bool:
        """Whether it multiplies activations: biases and the gains of normalisation layers have one dimension."""
        return len(self.shape) > 1


@dataclass(frozen=True)
class Counted:
    """What a network has that is known by building it. multiply_adds, output_shape: of one example."""

    parameters: dict[str, Parameter]
    multiply_adds: int
    output_shape: tuple[int, ...]


class RefusedError(InputError):
    """A user's code raised an error where a network was to be made and run."""
