"""A small study to vary."""

from __future__ import annotations

from typing import Any

from batchscope.studies import Study

SMALL: dict[str, Any] = {
    "name": "small",
    "dataset": "synthetic",
    "num_examples": 701,
    "dataset_options": {"d_in": 13, "num_heldout": 7},
    "budget": 307,
    "depths": (1, 3),
    "batch_sizes": (11, 53, 211),
    "target": {"train_loss": 0.05},
    "max_epochs": 31,
    "num_seeds": 3,
    "step_sizes": {"min": 0.02, "max": 0.16, "ratio": 2.0},
}


def make_study(**changes: Any) -> Study:
    return Study(**{key: value for key, value in (SMALL | changes).items() if value is not None})
