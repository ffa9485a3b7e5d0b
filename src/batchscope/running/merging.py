"""`merge`: the results of several run directories in one, every trial once. No torch."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from batchscope.errors import InputError, StoreError
from batchscope.records.row import Outcome, Row
from batchscope.running.store import Store, difference
from batchscope.studies.results import STUDY_FILE, Results, read
from batchscope.studies.study import Studies, Study


@dataclasses.dataclass(frozen=True)
class Merged:
    """trials: that the directory holds now. added: of them, new or in place of crashed ones. repeated: rows that were
    left out, because the directory held the trial already."""

    trials: int
    added: int
    repeated: int


def merge(directories: Sequence[str | Path], out: str | Path) -> Merged:
    """Gather the rows of run directories in `out`, which is created, or may hold some of them already.

    Shards that overlap, and directories that are merged again, add nothing: a trial is known by its id. Of a trial
    that several hold, a finished row is preferred to a crashed one, then the first. The others stay as they are.

    Raises InputError when no directory is named; StoreError for one that is no run directory or is damaged, for
    results of another study or on other data, and when `out` cannot be written.
    """
    if not directories:
        raise InputError("nothing to merge; expected the run directories whose results shall be gathered")
    sources = {Path(directory): read(directory) for directory in directories}
    held = {Path(out): read(out)} if (Path(out) / STUDY_FILE).is_file() else {}
    everything = held | sources
    _check_data(everything)
    with Store(out, _studies(everything)) as store:
        best = {(row.trial_id, row.study): row for results in held.values() for row in results.rows}
        known = [run for results in held.values() for run in results.runs]
        added = 0
        for results in sources.values():
            news = [row for row in results.rows if _is_better(row, best.get((row.trial_id, row.study)))]
            store.add(news)
            best |= {(row.trial_id, row.study): row for row in news}
            added += len(news)
            for run in (run for run in results.runs if run not in known):
                store.note_run(run)
                known.append(run)
    return Merged(len(best), added, sum(len(results.rows) for results in sources.values()) - added)


def _is_better(row: Row, held: Row | None) -> bool:
    return held is None or (held.outcome == Outcome.CRASHED and row.outcome != Outcome.CRASHED)


def _check_data(sources: Mapping[Path, Results]) -> None:
    """Raise StoreError where a study was trained on several versions of its data."""
    first: dict[str, tuple[Path, str]] = {}
    for directory, results in sources.items():
        for study, fingerprint in {(row.study, row.data_fingerprint) for row in results.rows}:
            other, expected = first.setdefault(study, (directory, fingerprint))
            if fingerprint != expected:
                raise StoreError(
                    f"{directory} holds results of {study!r} on other data than {other} (fingerprints {fingerprint} "
                    f"and {expected}); leave one of them out"
                )


def _studies(sources: Mapping[Path, Results]) -> Studies:
    """Every study once, as large as it has grown in any directory; StoreError for studies that were not run together.

    A directory that gathered a study beside its own could not be resumed by the command that made it.
    """
    fullest = max(sources, key=lambda directory: len(sources[directory].studies))
    among = [study.name for study in sources[fullest].studies]
    versions: defaultdict[str, dict[Path, Study]] = defaultdict(dict)
    for directory, results in sources.items():
        for study in results.studies:
            if study.name not in among:
                raise StoreError(
                    f"{directory} holds {study.name!r}, which is not among the studies of {fullest}: {among}; merge "
                    "results of one study"
                )
            versions[study.name][directory] = study
    return tuple(_largest(found) for found in versions.values())


def _largest(found: Mapping[Path, Study]) -> Study:
    """The study that all the others grew into."""
    problems = {}
    for directory, study in found.items():
        differing = {other: why for other, one in found.items() if (why := difference(one, (study,)))}
        if not differing:
            return study
        problems[directory] = differing
    directory, differing = next(iter(problems.items()))
    other, why = next(iter(differing.items()))
    raise StoreError(f"{other} holds another study than {directory}: {why}; merge results of one study")
