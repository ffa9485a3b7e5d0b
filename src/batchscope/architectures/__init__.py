"""Which networks, at which cost: families, closed-form counts, budget solver, initialisation; torch only to build."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from batchscope.architectures import factory as factory  # networks of the user's own
from batchscope.architectures import gpt as gpt  # families without functions of their own
from batchscope.architectures import linear as linear
from batchscope.architectures import resmlp as resmlp
from batchscope.architectures import wide_layer as wide_layer
from batchscope.architectures.architecture import FAMILIES, Architecture, Family, family_named
from batchscope.architectures.budget import count_parameters, count_weights, shapes_within, solve_depth, solve_width

# Families register themselves; these functions have the names of their modules: imported, the names mean the functions.
from batchscope.architectures.fully_connected import fully_connected
from batchscope.architectures.initialisation import INITIALISATIONS, initial_values, weight_std
from batchscope.architectures.lenet import lenet
from batchscope.architectures.resnet import resnet
from batchscope.importing import late_attribute

if TYPE_CHECKING:
    from batchscope.architectures.building import build

__all__ = [
    "FAMILIES",
    "INITIALISATIONS",
    "Architecture",
    "Family",
    "build",
    "count_parameters",
    "count_weights",
    "family_named",
    "fully_connected",
    "initial_values",
    "lenet",
    "resnet",
    "shapes_within",
    "solve_depth",
    "solve_width",
    "weight_std",
]


def __getattr__(name: str) -> Any:
    return late_attribute(__name__, {"build": "building"}, name)
