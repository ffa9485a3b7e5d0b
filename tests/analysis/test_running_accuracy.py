"""A running accuracy is met late, which makes B_crit of fast shapes too large: nothing is decided by it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from batchscope.analysis import batch_threshold, compare, sweeps_of
from batchscope.analysis.digest import digest
from batchscope.analysis.findings import findings
from batchscope.analysis.trend import trend

from .conftest import make_rows

SIZES = (32, 64, 128, 256, 512, 1024, 2048, 4096)
RUNNING = {"target_metric": "train_accuracy_running", "target_value": 0.65, "evaluations_per_epoch": 1}


def shape(depth: int, start: float, late: float, **changes: object):
    """Rows of one shape whose epochs are start (1 + B / 200) at every depth, and `late` more as they are counted."""
    rng = np.random.default_rng(depth)
    table = {
        size: [
            float(math.ceil(epochs + late))
            for epochs in start * (1 + size / 200) * np.exp(0.05 * rng.standard_normal(5))
        ]
        for size in SIZES
    }
    return make_rows(table, shape=f"net-{depth}", depth=depth, **{**RUNNING, **changes})


def study(late: float, **changes: object):
    """Four shapes that slow down at the same batch size, the wide ones fast."""
    return [
        row for depth, start in ((1, 0.2), (2, 0.4), (4, 1.0), (8, 3.0)) for row in shape(depth, start, late, **changes)
    ]


def test_what_a_delay_of_an_epoch_does():
    """The truth is 200 for all; counted late, the trend over depth would be sure of the paper's second finding."""
    late = trend(sweeps_of(study(0.8)), "b_crit")
    assert late.probability > 0.95
    assert late.interval[1] < 1


def test_nothing_is_decided_by_it_and_why_is_said():
    rows = study(0.8)
    (finding,) = (one for one in findings(rows) if one.name == "F1")
    assert finding.decision == "undecided"
    verdict = compare(rows)
    assert verdict.decision == "undecided"
    for text in (finding.sentence, verdict.sentence, digest(rows).headline.slow_down):
        assert "met late" in text
        assert "ask for train_accuracy" in text
    assert "take the wide shape; how large a batch it takes, this B_crit does not tell." in digest(rows).headline.advice
    assert "raised" not in digest(rows).headline.sentence
    alone = digest(shape(1, 0.2, 0.8)).headline.advice
    assert alone.startswith("This tells nothing of how large a batch it takes: a running accuracy")
    found = batch_threshold(rows, "b_crit")
    assert found["net-1"].biased
    assert found["net-1"].biased in found["net-1"].statement


@pytest.mark.parametrize("changes", [{"target_metric": "train_accuracy"}, {"target_metric": "train_loss"}])
def test_what_is_measured_at_the_check_is_not_late(changes):
    assert not any(one.biased for one in batch_threshold(study(0.0, **changes), "b_crit").values())
    assert 0.05 < trend(sweeps_of(study(0.0, **changes)), "b_crit").probability < 0.95


def test_a_running_accuracy_of_many_epochs_is_late_by_little():
    assert not any(one.biased for one in batch_threshold(shape(1, 6.0, 0.8), "b_crit").values())
    assert not any(one.biased for one in batch_threshold(study(0.8), "within_epochs(14)").values())
