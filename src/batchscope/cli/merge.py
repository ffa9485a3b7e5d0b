"""`batchscope merge DIR... --out DIR`: the results of several run directories in one, every trial once."""

from __future__ import annotations

import argparse
import dataclasses

from batchscope.cli.console import print_json
from batchscope.cli.reported import of_results
from batchscope.running.merging import merge
from batchscope.studies import read

EXIT_DONE = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the directories and --out."""
    parser.add_argument("directories", metavar="DIR", nargs="+", help="run directories, of shards for example")
    parser.add_argument("--out", metavar="DIR", required=True, help="where to gather them; created, or added to")


def run(arguments: argparse.Namespace) -> int:
    """Merge, and print what came of it; 0."""
    merged = merge(arguments.directories, arguments.out)
    if arguments.json:
        print_json({"out": arguments.out, **dataclasses.asdict(merged)})
        return EXIT_DONE
    print(f"{merged.trials} trials in {arguments.out}: {merged.added} added, {merged.repeated} were there already")
    for line in of_results(read(arguments.out)).unfinished:
        print(line)
    return EXIT_DONE
