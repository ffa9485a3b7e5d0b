"""`make reproduce` in small: run, keep, read back, analyse and draw, for every committed run."""

from __future__ import annotations

import pytest

from batchscope.studies import read
from reproduction import evidence, run


@pytest.mark.system
def test_the_smoke_form_goes_all_the_way(tmp_path):
    rows = run.smoke(tmp_path)
    skipped = {evidence.RUNS[given] for given in evidence.RUNS if _is_convolutional(given)}
    assert set(rows) == set(evidence.RUNS.values()) - skipped
    for directory, count in rows.items():
        found = read(tmp_path / "results" / directory)
        assert len(found.rows) == count > 0
        assert all(study.scaled == "smoke: 200 examples" for study in found.studies)
        assert not list((tmp_path / "results" / directory).glob(".lock*"))
    assert len(list(tmp_path.glob("*.png"))) >= len(rows)


def _is_convolutional(given):
    return all(map(run.is_convolutional, run.studies_of(given)))


def test_the_small_form_keeps_the_question():
    for given in evidence.RUNS:
        for full in run.studies_of(given):
            small = run.small(full)
            kept = ("name", "family", "target", "protocol", "optimizer", "initialisation", "sampling")
            assert all(getattr(small, key) == getattr(full, key) for key in kept)
