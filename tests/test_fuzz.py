"""300 odd study files, data files and stores: nothing escapes (`python -m tests.fuzz --n 5000` tries more)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.attempt import Attempt

ROOT = Path(__file__).parents[1]


@pytest.mark.system
@pytest.mark.skipif(not hasattr(os, "fork"), reason="every attempt is a fork")
def test_300_odd_inputs_are_refused_by_the_library_itself():
    command = [sys.executable, "-W", "ignore", "-m", "tests.fuzz", "--n", "300"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tried 300" in done.stdout
    for kind in ("studies", "data", "stores"):  # a fuzz of which all is refused, or nothing, would try little
        assert f"{kind} accepted" in done.stdout
        assert f"{kind} refused" in done.stdout


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({}, None),
        ({"text": "Traceback (most recent call last):"}, "a traceback"),
        ({"text": "no"}, "a refusal without a message"),
        ({"status": -9}, "ended with -9"),
        ({"seconds": 2.5}, "a refusal after 2.5 s"),
        ({"peak": 2 * 10**9}, "a refusal that took 2000 MB"),
        ({"text": "batchscope plan: " + "x" * 10**6}, "a message of 1000017 characters"),
        ({"status": 0, "seconds": 50.0}, None),
    ],
)
def test_what_counts_as_an_escape(changes, problem):
    good = {
        "kind": "data",
        "words": ("plan",),
        "status": 2,
        "seconds": 0.1,
        "peak": 10**8,
        "text": "batchscope plan: no",
    }
    assert Attempt(**(good | changes)).problem == problem
