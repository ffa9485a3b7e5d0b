"""Take the rows of a finished run into results/: one packed file without the folders of the machine that made it.

python -m reproduction.keep runs/figure3c results/figure3c
python -m reproduction.keep                                 no rows: assumptions as the recipes word them now
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from batchscope.errors import InputError
from batchscope.recipes import find
from batchscope.records import Row
from batchscope.records.packed import files_of, pack
from batchscope.running.store import Store
from batchscope.studies import Study, read
from batchscope.studies.results import STUDY_FILE
from batchscope.studies.study import Studies, to_toml
from batchscope.studies.trial import TUNE
from reproduction.command import ended
from reproduction.evidence import DECLARED, RESULTS, RUNS


def keep(run: Path, to: Path) -> int:
    """Copy a run directory's study and rows, packed; return the number of rows. Both may be the same directory.

    The histories of tuning runs stay behind: they are most of the bytes, and nothing looks at them once a step size is
    chosen. Raises InputError where `to` holds something else, AssertionError where the copy does not read back the
    same.
    """
    if to.exists() and any(to.iterdir()) and not (to / STUDY_FILE).is_file():
        raise InputError(f"{to} is no run directory; expected one, or a folder that is not there yet")
    found = read(run)
    rows = [_without_tuning_history(row) for row in found.rows]
    draft = to.with_name(f".{to.name}.partial")
    shutil.rmtree(draft, ignore_errors=True)
    with Store(draft, found.studies) as store:
        store.add(rows)
        for record in found.runs:
            store.note_run(record | {"command": _without_folders(record["command"])})
    packed = pack(store.path)
    if list(map(_without_tuning_history, read(draft).rows)) != rows:
        raise AssertionError(f"{draft} does not hold the rows of {run}")
    to.mkdir(exist_ok=True)
    if run != to:
        shutil.copyfile(run / STUDY_FILE, to / STUDY_FILE)
    kept = packed.replace(to / packed.name)  # at no moment are the rows in neither form
    for file in files_of(to):
        if file != kept:
            file.unlink()
    (to / ".lock").unlink(missing_ok=True)
    shutil.rmtree(draft)
    return len(rows)


def _without_tuning_history(row: Row) -> Row:
    return replace(row, history=()) if row.phase == TUNE else row


def _without_folders(command: list[str]) -> list[str]:
    """The words of a command with DIR for every path that begins at the root."""
    return ["DIR" if word.startswith("/") else word for word in command]


def studies_of(given: str) -> Studies:
    """The studies that `batchscope run` makes of these words."""
    name, _, variant = given.partition(" --variant ")
    return find(name, variant)


def reworded(directory: Path) -> bool:
    """Take the assumptions from the recipe of such a directory as they are worded now; whether they had changed.

    Those of no recipe stay. Raises AssertionError where anything else differs: the rows are then of another study.
    """
    given = next((given for given, name in DECLARED.items() if name == directory.name), None)
    if given is None:
        return False
    now, then = studies_of(given), read(directory).studies
    if [_without_assumptions(study) for study in now] != [_without_assumptions(study) for study in then]:
        raise AssertionError(f"{directory} holds rows of another study than {given}")
    if now != then:
        (directory / STUDY_FILE).write_text(to_toml(*now), encoding="utf-8")
    return now != then


def _without_assumptions(study: Study) -> dict[str, Any]:
    return study.to_dict() | {"assumptions": ()}


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, metavar="RUN TO")
    folders = parser.parse_args(words).folders
    if len(folders) not in (0, 2):
        parser.error("expected a run directory and where to keep its rows, or nothing")
    if folders:
        print(f"{keep(*folders)} rows in {folders[1]}")
    for directory in [folders[1]] if folders else [RESULTS / name for name in RUNS.values()]:
        print(f"{directory}: {'assumptions as they are worded now' if reworded(directory) else 'unchanged'}")


if __name__ == "__main__":
    raise SystemExit(ended("keep", main))
