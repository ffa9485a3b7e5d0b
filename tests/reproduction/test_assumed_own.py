"""The error of a batch size's own that is assumed where few show it, against the committed studies that do."""

from __future__ import annotations

import math

import numpy as np
import pytest
from reproduction.evidence import RESULTS

from batchscope.analysis import sweeps_of
from batchscope.analysis.log_times import ASSUMED_OWN, log_times
from batchscope.errors import InputError
from batchscope.studies import read


def own_errors():
    """Of every committed study that is one comparison and has four batch sizes at which some shape arrived."""
    for study in sorted(RESULTS.glob("*/study.toml")):
        try:
            times = next(iter(log_times(sweeps_of(read(study.parent))).values()))
        except InputError:  # several studies in one directory
            continue
        if times.own_is_seen:
            yield math.sqrt(times.own)


def test_the_assumed_error_is_the_middle_of_those_seen():
    found = list(own_errors())
    assert len(found) == 21  # as docs/analysis.md says, with their ends
    assert np.median(found) == pytest.approx(ASSUMED_OWN, abs=0.005)
    assert (round(min(found), 2), round(max(found), 2)) == (0.02, 0.69)
