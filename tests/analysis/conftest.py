"""Rows as a study would store them, from a table of epochs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from batchscope.records.row import Evaluation, Outcome, Row

Epochs = float | None | str  # epochs to target; None: censored; "diverged" or "crashed"


def make_row(epochs: Epochs = 5.0, batch_size: int = 32, seed: int = 0, **changes: Any) -> Row:
    """One final run that met its target after `epochs` passes over 1024 examples."""
    num_examples = changes.get("num_examples", 1024)
    max_epochs = changes.get("max_epochs", 100)
    outcome = Outcome(epochs) if isinstance(epochs, str) else Outcome.CENSORED if epochs is None else Outcome.REACHED
    reached = outcome is Outcome.REACHED
    ran = float(epochs) if reached else max_epochs  # type: ignore[arg-type]
    fields: dict[str, Any] = {
        "trial_id": f"{changes.get('shape', 'net')}-{batch_size}-{seed}",
        "study": "test",
        "protocol": "paper2018",
        "phase": "final",
        "dataset": "synthetic",
        "data_fingerprint": "0" * 16,
        "num_examples": num_examples,
        "family": "fully_connected",
        "shape": "net",
        "depth": 1,
        "width": 20,
        "num_weights": 15880,
        "num_parameters": 15910,
        "initialisation": "glorot_uniform",
        "optimizer": "sgd",
        "momentum": 0.0,
        "batch_size": batch_size,
        "step_size": 0.1,
        "seed": seed,
        "sampling": "permutation",
        "dtype": "float32",
        "target_metric": "train_accuracy",
        "target_value": 0.96,
        "max_epochs": max_epochs,
        "evaluations_per_epoch": 1,
        "outcome": outcome,
        "epochs_to_target": ran if reached else None,
        "steps_to_target": round(ran * num_examples / batch_size) if reached else None,
        "epochs_run": ran,
        "steps_run": round(ran * num_examples / batch_size),
        "train_loss": None if outcome is Outcome.DIVERGED else 0.1,
        "train_accuracy": 0.97 if reached else 0.5,
        "heldout_accuracy": None,
        "batch_size_bound": None,
    }
    return Row(**{**fields, **changes})


def make_rows(table: Mapping[int, Sequence[Epochs]], **changes: Any) -> list[Row]:
    """Batch size -> epochs of its seeds, as rows of one shape."""
    return [
        make_row(epochs, batch_size, seed, **changes)
        for batch_size, seeds in table.items()
        for seed, epochs in enumerate(seeds)
    ]


def with_history(row: Row, accuracies: Sequence[float]) -> Row:
    """The row with one check per epoch."""
    from dataclasses import replace

    per_epoch = row.num_examples // row.batch_size
    checks = tuple(
        Evaluation(float(k + 1), (k + 1) * per_epoch, 1 - accuracy, accuracy) for k, accuracy in enumerate(accuracies)
    )
    return replace(row, history=checks)


@pytest.fixture
def rows() -> Callable[..., list[Row]]:
    return make_rows


@pytest.fixture
def row() -> Callable[..., Row]:
    return make_row


@pytest.fixture
def history() -> Callable[[Row, Sequence[float]], Row]:
    return with_history
