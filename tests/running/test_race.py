"""Studies in a race, really trained: the same step sizes and reported runs as without, in fewer epochs of tuning."""

from __future__ import annotations

import pytest

import batchscope as bs
from batchscope.records import Rows

BASE = {
    "name": "race",
    "dataset": "digits",
    "num_examples": 150,
    "budget": 1500,
    "depths": (1, 3),
    "batch_sizes": (16, 100),
    "max_epochs": 15,
    "num_seeds": 2,
    "protocol": "tuned",
}
GRID = {"min": 0.02, "max": 0.64}
STUDIES = {
    "a running accuracy": {"target": {"train_accuracy_running": 0.85}, "step_sizes": GRID},
    "a grid widened at its low end": {"target": {"train_accuracy": 0.5}, "step_sizes": {"min": 4.0, "max": 16.0}},
    "many that arrive at one check": {"target": {"train_accuracy": 0.3}, "step_sizes": GRID},
    "held out, three checks an epoch, scheduled": {
        "target": {"heldout_loss": 0.8},
        "step_sizes": GRID,
        "evaluations_per_epoch": 3,
        "schedule": "cosine",
        "warmup_epochs": 1.0,
    },
    "a net trained as modules": {
        "dataset": "grammar",
        "num_examples": 80,
        "inputs": "tokens",
        "family": "gpt",
        "optimizer": "adam",
        "budget": 6000,
        "depths": (1,),
        "batch_sizes": (16,),
        "max_epochs": 4,
        "target": {"train_loss": 2.9},
        "step_sizes": {"min": 0.001, "max": 0.016, "ratio": 4.0},
    },
    "a target that nobody meets": {"target": {"train_loss": 1e-9}, "step_sizes": GRID, "max_epochs": 2},
}


@pytest.mark.parametrize("name", STUDIES)
def test_a_race_changes_no_reported_run(name, tmp_path):
    reported, grids, epochs = {}, {}, {}
    for race in (False, True):
        rows = Rows.of(bs.run(bs.Study(**BASE | STUDIES[name] | {"race": race}), tmp_path / f"{race}", "inline").rows)
        tuned, finals = (rows.where(phase=phase) for phase in ("tune", "final"))
        # How modules are run is chosen by timing them, and rounds in its own way.
        exact = "stacked" in finals.distinct("execution")[0][0]
        reported[race] = sorted(
            (row.trial_id, row.step_size, row.epochs_to_target, repr(tuple(row.history)) if exact else "")
            for row in finals
        )
        grids[race] = {size for (size,) in tuned.distinct("step_size")}
        epochs[race] = float(tuned.column("epochs_run").sum())
        ended = [row for row in tuned if "another step size had met the target" in row.message]
        assert all(row.outcome == "censored" and row.epochs_run < row.max_epochs for row in ended)
        assert bool(ended) == (race and name != "a target that nobody meets")
    assert reported[True] == reported[False]
    assert grids[True] == grids[False]
    assert epochs[True] < epochs[False] or name == "a target that nobody meets"
