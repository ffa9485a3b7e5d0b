"""batchscope: how large a batch can a network take, wide or deep, and how many workers does that buy?"""

from __future__ import annotations

from typing import Any

from batchscope.importing import import_module, late_attribute

__version__ = "0.2.0"

# Public name -> where it lives. Resolved on first use, so that reading results never pays for importing torch.
_EXPORTS: dict[str, str] = {
    "Architecture": "architectures",
    "Study": "studies",
    "run": "running",
    "StudyLoop": "running",
    "batch_threshold": "analysis",
    "branch_test": "analysis",
    "compare": "analysis",
    "BatchRule": "analysis",
    "fit": "analysis",
    "fit_critical_batch": "analysis",
    "schedule": "analysis",
    "measure": "gradients",
    "runs": "records",
    "per_example_sq_norms": "gradients",
    "observe": "gradients",
    "solve_width": "architectures",
}
_ROOMS = (
    "analysis",
    "architectures",
    "data",
    "gradients",
    "integrations",
    "losses",
    "recipes",
    "report",
    "running",
    "scaling",
    "studies",
    "theory",
    "training",
)

__all__ = ["__version__", *_EXPORTS]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"batchscope.{name}")
    return late_attribute(__name__, _EXPORTS, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_EXPORTS, *_ROOMS})
