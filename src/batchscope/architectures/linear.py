"""The linear family: fully-connected nets without activations, which the paper's theorems are about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from batchscope.architectures.architecture import FAMILIES
from batchscope.architectures.fully_connected import FullyConnectedFamily


class LinearFamily(FullyConnectedFamily):
    """d_in-K-...-K-d_out without activations: the map of one matrix, trained as a product of L + 1."""

    activations: ClassVar[tuple[str, ...]] = ("linear",)
    # The numbers are those of a fully-connected net whose activation is the identity, and so are the identities.
    identity: ClassVar[Mapping[str, str]] = {"family": "fully_connected"}


FAMILIES["linear"] = LinearFamily()
