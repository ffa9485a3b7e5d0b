"""Verifying a set: checksums of its files, then its contents against what is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from batchscope.data.dataset import Dataset
from batchscope.data.fetch import matches
from batchscope.data.load import load
from batchscope.data.locate import Located, PathLike, locate
from batchscope.data.registry import FILE_SETS
from batchscope.errors import DataError


@dataclass(frozen=True)
class FileCheck:
    """One file: its size in bytes, and whether its checksum is the published one (None: none is known for it)."""

    path: Path
    size: int
    matches: bool | None


@dataclass(frozen=True)
class CheckReport:
    """What was found: the files, the loaded set (None when it could not be), and every problem in words."""

    name: str
    files: tuple[FileCheck, ...]
    dataset: Dataset | None
    problems: tuple[str, ...]


def check(name: str, *, data_dir: PathLike | None = None) -> CheckReport:
    """Verify checksums, decompression, format, labels and numbers of examples of a set (or a .npz path).

    Damage is reported in `problems`, all of it, not raised. Raises DataError only when the files are not found,
    InputError for an unknown name.
    """
    located = locate(name, data_dir) if name in FILE_SETS else None
    files = _check_files(name, located) if located else ()
    dataset, problems = None, []
    try:
        dataset = load(name, data_dir=data_dir)
    except DataError as error:
        problems.append(str(error))
    if dataset is not None and located is not None:
        problems += _check_sizes(dataset, located)
    changed = [file.path for file in files if file.matches is False and str(file.path) not in " ".join(problems)]
    problems += [
        f"{path}: the checksum is not the published one. Remedy: {FILE_SETS[name].mend}"
        for path in changed  # those that could not be read at all are named above, with the reason
    ]
    return CheckReport(name, files, dataset, tuple(problems))


def _check_files(name: str, located: Located) -> tuple[FileCheck, ...]:
    known = FILE_SETS[name].checksums
    return tuple(
        FileCheck(path, path.stat().st_size, matches(path, known[path.name]) if path.name in known else None)
        for path in located.paths.values()
    )


def _check_sizes(dataset: Dataset, located: Located) -> list[str]:
    found = (dataset.num_examples, dataset.num_heldout)
    expected = (located.layout.num_examples, located.layout.num_heldout)
    if found == expected:
        return []
    return [f"{located.folder}: {found[0]} + {found[1]} held out; {dataset.title} has {expected[0]} + {expected[1]}"]
