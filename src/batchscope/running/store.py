"""The run directory: the studies it holds, one SQLite file of rows per writer, and locks. No torch.

DIR/study.toml                 what is being studied
DIR/results-1of1.sqlite        one file per shard, readable by any tool (see records/database.py): table `rows`, one
                               line per trial; table `evaluations`, one per check of the target; table `runs`, one of
                               JSON per call of `run`; with .gz behind its name, packed (see records/packed.py)
DIR/checkpoints/ID.pt          the state of an unfinished cohort after its latest epoch; ID.pt.damaged: set aside
DIR/.lock, DIR/.lock-IofN      held while a run writes; the system releases them when its process ends, however it ends
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from batchscope.errors import InputError, StoreError, shown
from batchscope.records.database import insert, open_file, writing
from batchscope.records.packed import pack, packed_form, unpack
from batchscope.records.reading import corrupt, explained, is_of_access, read_runs
from batchscope.records.row import Row
from batchscope.records.rows import Rows
from batchscope.studies.results import STUDY_FILE, recalled, rows_of_directory
from batchscope.studies.study import Studies, Study, read_studies, to_toml
from batchscope.studies.trial import Cohort
from batchscope.whole_number import whole_number
from batchscope.writing import write_text

# What may grow in a directory that already holds rows; any other difference is another study.
_GROWING = ("batch_sizes", "depths", "shapes")


@dataclasses.dataclass(frozen=True)
class Shard:
    """Part `index` of `count` of a study's cells, counting from 1; the whole is 1 of 1."""

    index: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise InputError(f"shard {self.index}/{self.count}; expected I/N with 1 <= I <= N, such as 2/4")

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read "I/N"."""
        index, count = (whole_number(part.strip()) for part in text.partition("/")[::2])
        if index is None or count is None:
            raise InputError(f"shard {shown(text)}; expected I/N with 1 <= I <= N, such as 2/4")
        return cls(index, count)

    def __str__(self) -> str:
        return f"{self.index}of{self.count}"


class Store:
    """A run directory opened for writing: holds the locks of its shard until closed.

    Raises StoreError when the directory cannot be written, another run holds it, or it holds another study.
    """

    def __init__(self, directory: str | Path, studies: Studies, shard: Shard | None = None) -> None:
        self.directory = Path(directory)
        shard = shard or Shard()
        self.path = self.directory / f"results-{shard}.sqlite"
        with contextlib.ExitStack() as stack, _explained(self.path):
            self.directory.mkdir(parents=True, exist_ok=True)
            for lock in _lock(self.directory, shard):
                stack.enter_context(lock)
            _settle_study_file(self.directory, studies)
            self._was_packed = _unpacked(self.path)
            self._file = open_file(self.path, recalled(studies))
            stack.callback(self._close_file)
            read_runs(self.directory)  # damage is named now, and not after hours of training
            self._resources = stack.pop_all()

    def checkpoint(self, cohort: Cohort) -> Path:
        """Where the state of a cohort is kept between its epochs."""
        return self.directory / "checkpoints" / f"{cohort.id}.pt"

    def drop_checkpoint(self, cohort: Cohort) -> None:
        """Remove the state of a cohort that is done, and what processes killed while writing it left half-written."""
        kept = self.checkpoint(cohort)
        for file in (kept, *kept.parent.glob(f"{kept.stem}.*.partial")):
            file.unlink(missing_ok=True)

    def add(self, rows: Iterable[Row]) -> None:
        """Write the rows of one cohort in one transaction: a kill at any moment leaves all of them or none."""
        with _explained(self.path), writing(self._file):
            insert(self._file, rows)

    def note_run(self, record: Mapping[str, Any]) -> None:
        """Write what this run is: its command, machine and choices (see `provenance.run_record`)."""
        with _explained(self.path), writing(self._file):
            self._file.execute("INSERT INTO runs VALUES (?)", [json.dumps(record)])

    def rows(self) -> Rows:
        """Return all rows of the directory, those of other writers included."""
        return rows_of_directory(self.directory)

    def close(self) -> None:
        """Close the file, packed again if it was, and release the locks."""
        self._resources.close()

    def _close_file(self) -> None:
        self._file.close()
        if self._was_packed:
            with contextlib.suppress(StoreError):  # on a full disk it stays as it is
                pack(self.path)

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _unpacked(path: Path) -> bool:
    """Unpack a results file that is packed; whether it was. What is wrong with it is said of the packed file."""
    packed = packed_form(path)
    try:
        with explained(packed):
            return unpack(path)
    except OSError as error:
        raise StoreError(f"{packed} cannot be read: {error.strerror or error}; expected a readable file") from None


def _settle_study_file(directory: Path, studies: Studies) -> None:
    """Write study.toml, or check that what is there is the same study or a smaller one."""
    path = directory / STUDY_FILE
    if path.exists():
        known = read_studies(path)
        problem = next(filter(None, (difference(old, studies) for old in known)), None)
        if problem:
            raise StoreError(f"{directory} holds another study: {problem}; choose another --out, or go back to {path}")
        if known == studies:
            return
    write_text(path, to_toml(*studies))


def difference(old: Study, studies: Studies) -> str | None:
    """Return in words why `studies` does not continue `old`, or None: it may have more cells or more seeds."""
    new = next((study for study in studies if study.name == old.name), None)
    if new is None:
        return f"{old.name!r}, which is not among {[study.name for study in studies]}"
    for name in type(old).model_fields:
        before, after = getattr(old, name), getattr(new, name)
        if name in _GROWING and before is not None and after is not None and set(before) <= set(after):
            continue
        if name == "num_seeds" and after >= before:
            continue
        if name not in ("assumptions", "scaled") and before != after:
            return f"{old.name!r} with {name} = {before!r}, not {after!r}"
    return None


def _lock(directory: Path, shard: Shard) -> Iterator[IO[str]]:
    """Take the directory for oneself, or share it with other shards and take one's own shard."""
    whole = shard.count == 1
    yield _flock(directory / ".lock", exclusive=whole)
    if not whole:
        yield _flock(directory / f".lock-{shard}", exclusive=True)


def _flock(path: Path, exclusive: bool) -> IO[str]:
    import fcntl  # POSIX only; reading results needs no lock and works everywhere

    file = path.open("a")
    try:
        fcntl.flock(file, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise StoreError(
            f"another run is writing to {path.parent}; wait for it, choose another --out, or give each run "
            "its own --shard"
        ) from None
    return file


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.DatabaseError) as error:
        if isinstance(error, sqlite3.ProgrammingError):
            raise  # a value of ours that is no value
        if isinstance(error, sqlite3.Error) and not is_of_access(error):
            raise corrupt(path, error) from None
        reason = getattr(error, "strerror", None) or error
        raise StoreError(
            f"{path.parent} cannot be written: {reason}; expected a directory with write permission and free space"
        ) from None
