"""The identity of a trial never changes: every stored result would be lost.

golden_trials.json was written by the code of November 2026, before options were declared in one place: for each study
the identities of the tuning and the first final trial of every cell, as one hash.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from batchscope.studies import Study
from batchscope.studies.dataset import DataFacts
from batchscope.studies.plan import cells, trial
from batchscope.studies.trial import FINAL, TUNE

GOLDEN = json.loads((Path(__file__).parent / "golden_trials.json").read_text(encoding="utf-8"))


def identities(golden: dict[str, Any]) -> list[str]:
    study, classes = Study.from_toml(golden["study"]), golden["num_classes"]
    shape = tuple(golden["input_shape"])
    data = DataFacts("0123456789abcdef", golden["num_examples"], shape, classes or 1, classes, study.seed)
    planned = (
        (cell, trial(cell, phase, study.step_sizes.at(1), study.seed + (phase == FINAL)))
        for cell in cells(study, data)
        for phase in (TUNE, FINAL)
    )
    return [f"{one.id} {cell.architecture.label} B={cell.batch_size} {one.phase}" for cell, one in planned]


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: f"{golden['study'].split(chr(10), 1)[0][8:-1]}")
def test_identities_and_labels_are_those_of_stored_results(golden):
    found = identities(golden)
    assert (found[0], found[-1], len(found)) == (golden["first"], golden["last"], golden["trials"])
    assert hashlib.sha256("\n".join(found).encode()).hexdigest() == golden["sha256"]
