"""`Results`: the rows of a run directory and their summary, one line per (architecture, batch size). No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchscope.analysis.cells import CellTable, summary_table
from batchscope.errors import InputError, StoreError
from batchscope.records.reading import Recalled, read_rows, read_runs
from batchscope.records.row import Outcome, Row
from batchscope.records.rows import Rows
from batchscope.studies.plan import options_in_force
from batchscope.studies.study import Studies, Study, read_studies

STUDY_FILE = "study.toml"


@dataclass(frozen=True)
class Results:
    """rows: all rows, by study, shape, batch size, phase, step size and seed. studies: what was asked for, one or more.

    runs: one record per call of `run` that wrote them (started, command, versions, commit, machine, executor,
    workers, device, shard), the oldest first.
    """

    rows: Sequence[Row]
    studies: Studies
    runs: tuple[dict[str, Any], ...] = ()

    @property
    def study(self) -> Study:
        """The study, where there is one; see `studies` for directories that hold several."""
        if len(self.studies) != 1:
            raise InputError(f"these are results of {len(self.studies)} studies; use .studies")
        return self.studies[0]

    def of(self, study: str) -> Results:
        """Return the results of one named study."""
        chosen = tuple(one for one in self.studies if one.name == study)
        if not chosen:
            raise InputError(f"no study {study!r} here; expected one of {[one.name for one in self.studies]}")
        return Results(Rows.of(self.rows).where(study=study), chosen, self.runs)

    def table(self) -> CellTable:
        """Return one summary per (architecture, batch size) that has at least one row."""
        return summary_table(self.rows)

    def count(self, outcome: Outcome) -> int:
        """Return the number of trials, tuning included, that ended so."""
        return len(Rows.of(self.rows).where(outcome=outcome))


def read(directory: str | Path, rows: Rows | None = None) -> Results:
    """Read a run directory, finished or not; torch is not needed. Raises StoreError if it is none, or damaged.

    rows: all of the directory's, where they were read already (see `rows_of_directory`).
    """
    studies = read_study_file(directory)
    rows = read_rows(directory, recalled(studies)) if rows is None else rows
    return Results(rows.where(study=tuple(study.name for study in studies)), studies, read_runs(directory))


def rows_of_directory(directory: str | Path) -> Rows:
    """Return all rows of a run directory, those of other writers included; see `read_rows`."""
    return read_rows(directory, recalled(read_study_file(directory)))


def recalled(studies: Studies) -> Recalled:
    """What results of earlier versions did not record of their architectures and settings, from the studies' files."""
    by_name = {study.name: study for study in studies}

    def values(study: str, phase: str) -> Mapping[str, Any]:
        if study not in by_name:
            return {}
        return options_in_force(by_name[study], phase)

    return values


def read_study_file(directory: str | Path) -> Studies:
    """Return the studies a run directory holds."""
    path = Path(directory) / STUDY_FILE
    if not path.is_file():
        raise StoreError(f"{directory} is not a run directory: it has no {STUDY_FILE}; expected the --out of a run")
    return read_studies(path)
