"""`batchscope COMMAND ...`: finds the command's module, imports only that one, and turns errors into exit statuses."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Sequence

from batchscope import __version__
from batchscope.errors import BatchscopeError

# Command -> one line of help. Each lives in cli/<command>.py as `add_arguments(parser)` and `run(arguments) -> int`.
COMMANDS: dict[str, str] = {
    "measure": "gradient diversity of a model on a data set",
    "shapes": "shapes of one parameter budget, with the theory's ratio beside each",
    "theory": "closed forms and bounds of gradient diversity for one shape",
    "plan": "trials, cohorts and predicted time of a study; runs nothing",
    "run": "finish a study, or what is left of it",
    "report": "verdict, table, figures and one HTML page of a run directory; a gate for CI",
    "advise": "time and cost to target against the number of workers, wide against deep",
    "export": "the rows of a run directory as csv, parquet or json",
    "recipes": "the paper's experiments and the quickstart, with their costs",
    "data": "where data is, fetch it with checksum, verify it",
    "doctor": "versions, threads, devices, data found",
    "selftest": "run the analysis on problems whose answer is known, and print expected and got",
}

EXIT_DONE, EXIT_CRASHED_TRIALS, EXIT_UNUSABLE_INPUT, EXIT_INTERRUPTED = 0, 1, 2, 130


def build_parser(command: str | None) -> argparse.ArgumentParser:
    """Build the parser, loading the module of `command` only: `batchscope --help` imports no command at all."""
    parser = argparse.ArgumentParser(prog="batchscope", description="How large a batch can a network take?")
    parser.add_argument("--version", action="version", version=f"batchscope {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=summary, description=summary)
        if name == command:
            importlib.import_module(f"batchscope.cli.{name}").add_arguments(subparser)
            subparser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return 0 done, 1 some trials crashed, 2 unusable input, 130 interrupted."""
    words = list(sys.argv[1:] if argv is None else argv)
    command = next((word for word in words if not word.startswith("-")), None)
    arguments = build_parser(command).parse_args(words)
    try:
        return int(importlib.import_module(f"batchscope.cli.{arguments.command}").run(arguments))
    except BatchscopeError as error:
        if arguments.json:
            print(json.dumps({"error": str(error), "kind": type(error).__name__}))
        print(f"batchscope {arguments.command}: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("interrupted; what was finished is kept, the same command resumes", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return EXIT_DONE


if __name__ == "__main__":
    raise SystemExit(main())
