"""`batchscope selftest`: the analysis on problems with a known answer; expected and got, side by side."""

from __future__ import annotations

import argparse
import json

from rich.console import Console
from rich.table import Table

from batchscope.analysis.known_answers.check import Check
from batchscope.analysis.known_answers.selftest import selftest

EXIT_DONE, EXIT_FAILED = 0, 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None but --json."""
    parser.epilog = "Exit status 0 when every check agrees, 1 when one does not."


def run(arguments: argparse.Namespace) -> int:
    """Run the checks, print them, return 0 when all agree."""
    checks = selftest()
    agree = sum(check.passed for check in checks)
    if arguments.json:
        print(json.dumps({"passed": agree == len(checks), "checks": [check.as_dict() for check in checks]}))
    else:
        console = Console()
        console.print(_table(checks))
        console.print(f"{agree} of {len(checks)} checks agree")
    return EXIT_DONE if agree == len(checks) else EXIT_FAILED


def _table(checks: tuple[Check, ...]) -> Table:
    table = Table("check", "source", "expected", "got", "", title="batchscope selftest")
    for check in checks:
        mark = "[green]ok[/]" if check.passed else "[bold red]WRONG[/]"
        table.add_row(check.name, check.source, check.expected, check.got, mark)
    return table
