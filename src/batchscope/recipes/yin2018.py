"""Lemma 1 of Chen et al. 2018 (Theorem 3 of Yin et al. 2018) as an experiment."""

from __future__ import annotations

from typing import Any

from batchscope.studies import Study

SUM_STEP_SIZES = (0.001, 0.004)
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
PASSES = 20


def lemma1() -> tuple[Study, ...]:
    """One step size γ for the *sum* over a batch at every batch size, serial SGD (B = 1) among them; nothing is tuned.

    Examples drawn with replacement, the loss and B_S after each of 20 passes, eight seeds, which share their initial
    weights over batch sizes. Linear and ReLU nets, one hidden layer and six of equal weights; labels of a linear
    teacher, without noise and with (whose least loss is then not 0). The target is out of reach on purpose.
    """
    return tuple(
        _study(name, sum_step_size, **changes)
        for name, changes in (
            ("linear", {"family": "linear"}),
            ("linear-noise", {"family": "linear", "dataset_options": {"d_in": 50, "noise": 0.5}}),
            ("relu", {"family": "fully_connected"}),
        )
        for sum_step_size in SUM_STEP_SIZES
    )


def _study(name: str, sum_step_size: float, **changes: Any) -> Study:
    common: dict[str, Any] = {
        "dataset": "synthetic",
        "num_examples": 1000,
        "dataset_options": {"d_in": 50},
        "budget": 3000,
        "depths": (1, 6),
        "batch_sizes": BATCH_SIZES,
        "target": {"train_loss": 1e-30},
        "max_epochs": PASSES,
        "num_seeds": 8,
        "protocol": "fixed",
        "sampling": "with_replacement",
        "diversity_every": 1,
        "dtype": "float64",
        "scaled": "1000 generated examples of 50 inputs; Lemma 1 names no problem",
    }
    return Study(name=f"yin2018-lemma1-{name}-{sum_step_size:g}", sum_step_size=sum_step_size, **common | changes)
