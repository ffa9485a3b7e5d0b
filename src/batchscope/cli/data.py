"""`batchscope data list | get NAME | check NAME`: where data is, fetch it with checksum, verify it."""

from __future__ import annotations

import argparse
import sys
from typing import Any

import numpy as np
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from batchscope.cli.console import console, print_json
from batchscope.data.check import CheckReport, check
from batchscope.data.dataset import Dataset
from batchscope.data.fetch import fetch
from batchscope.data.locate import find, search_path
from batchscope.data.registry import BUILT_IN, FILE_SETS

EXIT_DONE, EXIT_UNUSABLE_INPUT = 0, 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `list`, `get NAME` and `check NAME`; --data-dir and --json may stand before or after them."""
    parser.add_argument("--data-dir", metavar="DIR", help="the first folder to look in, and where `get` stores")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for action, summary in (
        ("list", "the data sets, where each was found, and the folders searched"),
        ("get", "download a data set, continuing what an earlier attempt left"),
        ("check", "verify checksums, contents and numbers of examples"),
    ):
        subparser = actions.add_parser(action, help=summary, description=summary)
        subparser.add_argument("--data-dir", metavar="DIR", default=argparse.SUPPRESS, help="as above")
        subparser.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON object")
        if action != "list":
            subparser.add_argument("name", metavar="NAME", help="a data set; `batchscope data list` names them")


def run(arguments: argparse.Namespace) -> int:
    """Run the action chosen; 0 done, 2 when `check` found something wrong."""
    actions = {"list": _list, "get": _get, "check": _check}
    return actions[arguments.action](arguments)


def _list(arguments: argparse.Namespace) -> int:
    rows: list[dict[str, Any]] = [
        {"name": name, "found": True, "where": "built in", "what": one.what} for name, one in BUILT_IN.items()
    ]
    rows += [_row_of_files(name, arguments.data_dir) for name in FILE_SETS]
    places: list[dict[str, Any]] = [
        {"place": what, "folder": str(folder), "exists": folder.is_dir()}
        for what, folder in search_path(arguments.data_dir)
    ]
    if arguments.json:
        print_json({"data_sets": rows, "search_path": places})
        return EXIT_DONE
    table = Table("name", "found", "what it is", title="Data sets")
    for row in rows:
        table.add_row(row["name"], row["where"] if row["found"] else f"no; {row['where']}", row["what"])
    folders = Table("place", "folder", "exists", title="Searched in this order")
    for place in places:
        folders.add_row(place["place"], place["folder"], "yes" if place["exists"] else "no")
    console().print(table, folders)
    return EXIT_DONE


def _row_of_files(name: str, data_dir: str | None) -> dict[str, Any]:
    entry, located = FILE_SETS[name], find(name, data_dir)
    layout = located.layout if located else entry.layouts[0]
    shape = "x".join(map(str, entry.shape))
    what = f"{entry.title}: {layout.num_examples} + {layout.num_heldout} held out, {shape}, {entry.num_classes} classes"
    return {
        "name": name,
        "found": located is not None,
        "where": str(located.folder) if located else entry.remedy,
        "what": f"{what}. {layout.remark}" if layout.remark else what,
    }


def _get(arguments: argparse.Namespace) -> int:
    with _Bars() as bars:
        fetch(arguments.name, data_dir=arguments.data_dir, progress=bars.update)
    return _check(arguments)


def _check(arguments: argparse.Namespace) -> int:
    return _print_check(check(arguments.name, data_dir=arguments.data_dir), arguments.json)


def _print_check(report: CheckReport, as_json: bool) -> int:
    if as_json:
        print_json(_check_record(report))
    else:
        _print_check_tables(report)
    for problem in report.problems:
        print(f"batchscope data: {problem}", file=sys.stderr)
    return EXIT_UNUSABLE_INPUT if report.problems else EXIT_DONE


def _check_record(report: CheckReport) -> dict[str, Any]:
    return {
        "name": report.name,
        "ok": not report.problems,
        "problems": report.problems,
        "files": [
            {"path": str(file.path), "bytes": file.size, "checksum_matches": file.matches} for file in report.files
        ],
        "contents": None if report.dataset is None else _contents(report.dataset),
    }


def _contents(dataset: Dataset) -> dict[str, Any]:
    classes = dataset.num_classes
    counts = None if classes is None else np.bincount(dataset.targets, minlength=classes).tolist()
    return {
        "title": dataset.title,
        "num_examples": dataset.num_examples,
        "num_heldout": dataset.num_heldout,
        "input_shape": list(dataset.inputs.shape[1:]),
        "num_classes": classes,
        "training_examples_per_class": counts,
        "fingerprint": dataset.fingerprint,
        "standardisation": dataset.standardisation.scheme,
        "source": dataset.source,
    }


def _print_check_tables(report: CheckReport) -> None:
    verdicts = {True: "as published", False: "NOT as published", None: "none known for this form"}
    if report.files:
        files = Table("file", "bytes", "checksum")
        for file in report.files:
            files.add_row(str(file.path), f"{file.size:,}", verdicts[file.matches])
        console().print(files)
    if report.dataset is not None:
        contents = Table("contents", "", title=str(report.dataset))
        for key, value in _contents(report.dataset).items():
            contents.add_row(key.replace("_", " "), str(value))
        console().print(contents)
    if not report.problems:
        console().print(f"{report.name}: all right")


class _Bars:
    """Progress of downloads on standard error: bars on a terminal, one line per finished file elsewhere."""

    def __enter__(self) -> _Bars:
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=console(stderr=True), disable=not sys.stderr.isatty())
        self._tasks: dict[str, TaskID] = {}
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def update(self, file: str, done: int, total: int | None) -> None:
        if file not in self._tasks:
            self._tasks[file] = self._progress.add_task(file, total=total)
        self._progress.update(self._tasks[file], completed=done, total=total)
        if done == total and not sys.stderr.isatty():
            print(f"{file}: {done:,} bytes", file=sys.stderr)
