"""What the tests of studies share: a small study, a fake trainer in this process, and the command line in another."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import batchscope
from batchscope.studies import Study
from batchscope.studies.dataset import DataFacts

from . import fake_trainer
from .common import make_study

collect_ignore = ["patched"]  # looking for doctests in it would patch this very process
PATCHED = os.pathsep.join([str(Path(__file__).parent / "patched"), str(Path(batchscope.__file__).parents[1])])


@pytest.fixture
def study() -> Study:
    return make_study()


@pytest.fixture
def data() -> DataFacts:
    return DataFacts("f" * 16, 701, (13,), 1, None, 0)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Replace the trainer of this process; `fake.calls` counts the cohorts trained."""
    import batchscope.training

    state = SimpleNamespace(calls=[])

    def train(architecture: Any, dataset: Any, settings: Any, members: Any, **options: Any) -> Any:
        state.calls.append((architecture.label, settings.batch_size, len(members)))
        return fake_trainer.train_cohort(architecture, dataset, settings, members, **options)

    monkeypatch.setattr(batchscope.training, "train_cohort", train, raising=False)
    return state


@pytest.fixture
def patched_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Worker processes started by this one use the fake trainer."""
    monkeypatch.setenv("PYTHONPATH", PATCHED)


@pytest.fixture
def batchscope_command(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start `python -m batchscope.cli.main ...` with the fake trainer, in it and in its workers."""

    def start(*words: str | Path, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "batchscope.cli.main", *map(str, words)],
            env=os.environ | {"PYTHONPATH": PATCHED, "OMP_NUM_THREADS": "1"} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
        )

    return start
