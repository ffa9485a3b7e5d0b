"""What a report is about: the studies of a run directory, or of a CSV of plain numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchscope.cli.study import notes
from batchscope.errors import InputError, choose
from batchscope.records.plain import runs, unknowns
from batchscope.records.row import Row
from batchscope.running.shards import ShardProgress, missing_shards
from batchscope.studies import Results, read
from batchscope.studies.study import to_toml


@dataclass(frozen=True)
class Reported:
    """rows, notes: study name -> its rows, what every output about it repeats. study_file, runs: what was run; empty
    for plain numbers. missing_shards: that have something left to train; None where that cannot be told, and
    shards_problem says why."""

    rows: Mapping[str, Sequence[Row]]
    notes: Mapping[str, Sequence[str]]
    study_file: str = ""
    runs: Sequence[Mapping[str, Any]] = ()
    missing_shards: Sequence[ShardProgress] | None = ()
    shards_problem: str = ""

    @property
    def unfinished(self) -> list[str]:
        """What a study that was trained in shards still lacks, in a line; nothing where it lacks nothing."""
        if self.missing_shards is None:
            return [f"Which shards are missing cannot be told: {self.shards_problem}"]
        if not self.missing_shards:
            return []
        what = "shard" if len(self.missing_shards) == 1 else "shards"
        listed = ", ".join(map(str, self.missing_shards))
        return [f"Not finished: {what} {listed}; the same command trains what is left"]

    def counterpart(self, study: str) -> Sequence[Row]:
        """The rows of the study of that name, or of the only one. Raises InputError where there is neither."""
        return next(iter(self.rows.values())) if len(self.rows) == 1 else self.rows[choose("study", study, self.rows)]


def reported(path: str | Path, study: str | None = None, num_examples: int | None = None) -> Reported:
    """Read a run directory or a CSV. study: only this one. num_examples: of the training set, for a CSV without it."""
    if Path(path).is_file() or Path(path).suffix.lower() == ".csv":
        return _of_table(path, study, num_examples)
    results = read(path)
    return of_results(results.of(study) if study else results)


def of_results(results: Results) -> Reported:
    """The studies of a run directory."""
    return Reported(
        {study.name: results.of(study.name).rows for study in results.studies},
        {study.name: notes(study) for study in results.studies},
        to_toml(*results.studies),
        results.runs,
        *_missing_shards(results),
    )


def _missing_shards(results: Results) -> tuple[Sequence[ShardProgress] | None, str]:
    """(the shards, ""), or (None, why): to plan a study with a network of one's own takes its code, rows do not."""
    try:
        return missing_shards(results), ""
    except InputError as error:
        return None, str(error)


def _of_table(path: str | Path, study: str | None, num_examples: int | None) -> Reported:
    groups = {name: rows for (name,), rows in runs(path, num_examples).group_by("study").items()}
    if study is not None:
        groups = {study: groups[choose("study", study, groups)]}
    return Reported(groups, {name: [f"{name}: {note}" for note in unknowns(rows)] for name, rows in groups.items()})
