"""`batchscope export DIR FILE`: the rows of a run directory, sorted by trial id, as csv, parquet or json."""

from __future__ import annotations

import argparse

from batchscope.cli.console import print_json
from batchscope.records.export import export
from batchscope.studies import read


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A run directory and a file."""
    parser.add_argument("directory", metavar="DIR", help="a run directory, finished or not")
    parser.add_argument("file", metavar="FILE", help="a name ending in .csv, .parquet or .json")


def run(arguments: argparse.Namespace) -> int:
    """Write the file, print the number of trials; 0."""
    number = export(read(arguments.directory).rows, arguments.file)
    if arguments.json:
        print_json({"file": arguments.file, "trials": number})
    else:
        print(f"{number} trials in {arguments.file}")
    return 0
