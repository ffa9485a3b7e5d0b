"""The chaos program, a few trials of it: what is killed, filled up or damaged ends with the same table."""

import pytest

from tests import chaos


@pytest.mark.system
def test_a_study_survives(capsys):
    assert chaos.main(["--n", "3", "--seed", "2", "--executors", "processes"]) == 0
    assert "tried 3, survived 3" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("harms", [["driver", "worker", "group"], ["disk"], ["readonly"], ["checkpoint"], ["database"]])
def test_a_study_survives_each_harm(harms, capsys):
    if harms == ["readonly"] and not chaos.can_forbid_writing():
        pytest.skip("root may write everywhere here")
    assert chaos.main(["--n", "3", "--seed", "1", "--executors", "processes", "--harms", *harms]) == 0
    assert "tried 3, survived 3" in capsys.readouterr().out


@pytest.mark.system
def test_a_table_that_differs_does_not_count_as_survival(capsys, monkeypatch):
    monkeypatch.setattr(chaos, "undisturbed", lambda folder: [{"trial_id": "another"}])
    assert chaos.main(["--n", "1", "--executors", "inline", "--harms", "driver"]) == 1
    assert "another table" in capsys.readouterr().out
