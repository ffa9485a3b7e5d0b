"""Which networks, at which cost: families, closed-form counts, budget solver, initialisation; torch only to build."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from batchscope.architectures.architecture import Architecture
from batchscope.architectures.budget import count_parameters, count_weights, shapes_within, solve_depth, solve_width
from batchscope.architectures.initialisation import INITIALISATIONS, initial_values, weight_std

if TYPE_CHECKING:
    from batchscope.architectures.modules import build, fully_connected

__all__ = [
    "INITIALISATIONS",
    "Architecture",
    "build",
    "count_parameters",
    "count_weights",
    "fully_connected",
    "initial_values",
    "shapes_within",
    "solve_depth",
    "solve_width",
    "weight_std",
]


def __getattr__(name: str) -> Any:
    if name in ("build", "fully_connected"):
        from batchscope.architectures import modules

        return getattr(modules, name)
    raise AttributeError(f"module 'batchscope.architectures' has no attribute {name!r}")
