"""What the tests of running share: results without their timings, and waiting for other processes."""

from __future__ import annotations

import csv
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import batchscope as bs
from batchscope.records.export import export
from batchscope.records.row import Row

STUDY = "study.toml"


def numbers(row: Row) -> str:
    """All of a row that must not depend on when and where it was trained."""
    plain = dataclasses.replace(row, seconds=0.0)
    return repr(plain) + repr(plain.history)


def same_rows(a: bs.studies.Results, b: bs.studies.Results) -> bool:
    return list(map(numbers, a.rows)) == list(map(numbers, b.rows))


def exported(directory: Path) -> list[dict[str, str]]:
    """The exported rows without their timing column."""
    export(bs.studies.read(directory).rows, f"{directory}.csv")
    with open(f"{directory}.csv", newline="") as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


def wait_for(condition: Callable[[], object], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def trials_in(directory: Path) -> int:
    return len(bs.studies.read(directory).rows) if (directory / "results-1of1.sqlite").exists() else 0


def processes_with(tag: str) -> set[int]:
    """Processes that have a word in their environment (Linux)."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if tag.encode() in path.read_bytes():
                found.add(int(path.parent.name))
        except OSError:
            continue
    return found
