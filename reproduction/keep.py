"""Take the rows of a finished run into results/: one compact file without the folders of the machine that made it.

python -m reproduction.keep runs/figure3c results/figure3c
"""

from __future__ import annotations

import argparse
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

from batchscope.records import Row
from batchscope.running.store import Store
from batchscope.studies import read
from batchscope.studies.results import STUDY_FILE
from batchscope.studies.trial import TUNE


def keep(run: Path, to: Path) -> int:
    """Copy a run directory's study and rows; return the number of rows. Checks that the copy reads back the same.

    The histories of tuning runs stay behind: they are most of the bytes, and nothing looks at them once a step size is
    chosen.
    """
    found = read(run)
    rows = [_without_tuning_history(row) for row in found.rows]
    to.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(run / STUDY_FILE, to / STUDY_FILE)
    for file in to.glob("results-*.sqlite"):
        file.unlink()
    with Store(to, found.studies) as store:
        store.add(rows)
        for record in found.runs:
            store.note_run(record | {"command": _without_folders(record["command"])})
    (to / ".lock").unlink()
    for file in to.glob("results-*.sqlite"):
        with sqlite3.connect(file) as database:
            database.execute("VACUUM")
    if list(map(_without_tuning_history, read(to).rows)) != rows:
        raise AssertionError(f"{to} does not hold the rows of {run}")
    return len(rows)


def _without_tuning_history(row: Row) -> Row:
    return replace(row, history=()) if row.phase == TUNE else row


def _without_folders(command: list[str]) -> list[str]:
    """The words of a command with DIR for every path that begins at the root."""
    return ["DIR" if word.startswith("/") else word for word in command]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("to", type=Path)
    arguments = parser.parse_args()
    print(f"{keep(arguments.run, arguments.to)} rows in {arguments.to}")


if __name__ == "__main__":
    main()
