"""What the gradients of a model say about its batch size: moments, estimands, intervals, layer rules, kernels."""

from __future__ import annotations

from typing import Any

from batchscope.importing import late_attribute

# Public name -> where it lives. Resolved on first use: the estimands are plain formulas and must not import torch.
_EXPORTS = {
    "measure": "measuring",
    "per_example_sq_norms": "measuring",
    "observe": "observing",
    "StepMoments": "observing",
    "GroupMoments": "observing",
    "Note": "observing",
    "ObserveWarning": "observing",
    "NoiseWindow": "observing",
    "Report": "report",
    "GradientMoments": "moments",
    "Moments": "estimands",
}

__all__ = list(_EXPORTS)


def __getattr__(name: str) -> Any:
    return late_attribute(__name__, _EXPORTS, name)
