"""Running is tested on the studies of tests/studies, with the same fake trainer."""

import pytest

import batchscope as bs
from tests.running.common import STUDY, exported
from tests.studies.common import make_study
from tests.studies.conftest import batchscope_command, data, fake, patched_workers, study

__all__ = ["batchscope_command", "data", "fake", "patched_workers", "study"]


@pytest.fixture
def study_file(tmp_path):
    (tmp_path / STUDY).write_text(make_study().to_toml())
    return tmp_path / STUDY


@pytest.fixture
def command(batchscope_command):
    """Run a command to its end: (exit status, standard output, standard error)."""

    def run(*words, **environment):
        process = batchscope_command(*words, **environment)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    return run


@pytest.fixture
def whole(tmp_path, fake) -> list[dict[str, str]]:
    """The export of an uninterrupted run, made in this process."""
    bs.run(make_study(), tmp_path / "whole", executor="inline")
    return exported(tmp_path / "whole")
