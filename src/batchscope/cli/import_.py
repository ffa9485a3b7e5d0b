"""`batchscope import FILE|DIR OUT.csv`: results of other tools as a CSV that `report` reads."""

from __future__ import annotations

import argparse
from pathlib import Path

from batchscope.cli.console import print_json
from batchscope.records.foreign import FORMATS, imported, save
from batchscope.records.foreign.column_map import parse_map
from batchscope.records.plain_columns import COLUMNS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the other tool wrote, where to write, the layout, and which columns are meant."""
    layouts = "; ".join(f"{name}: {meaning}" for name, meaning in FORMATS.items())
    parser.add_argument("source", metavar="FILE|DIR", type=Path, help="what the other tool wrote")
    parser.add_argument("file", metavar="OUT.csv", type=Path, help="where to write; `batchscope report` reads it")
    parser.add_argument("--format", choices=sorted(FORMATS), default="csv", help=f"{layouts} (default: %(default)s)")
    parser.add_argument(
        "--column",
        action="append",
        default=[],
        metavar="OURS=THEIRS",
        help=f"a head of theirs for one of ours ({', '.join(COLUMNS)}); may be repeated",
    )
    parser.add_argument("--target", metavar="EXPR", help="of measurements over time, such as 'val/error <= 0.3'")
    parser.add_argument("--chart", type=Path, metavar="FILE", help="the CSV of a chart of W&B, for --target")
    parser.add_argument("--num-examples", type=int, metavar="N", help="of the training set, if no column says it")


def run(arguments: argparse.Namespace) -> int:
    """Write the CSV; returns 0."""
    columns = parse_map(arguments.column)
    lines = imported(arguments.source, arguments.format, columns, arguments.chart, arguments.target)
    number = save(lines, arguments.file, arguments.num_examples)
    if arguments.json:
        print_json({"file": str(arguments.file), "runs": number})
    else:
        print(f"{number} runs in {arguments.file}\nNext: batchscope report {arguments.file}")
    return 0
