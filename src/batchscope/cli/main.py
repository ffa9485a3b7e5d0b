"""`batchscope COMMAND ...`: finds the command's module, imports only that one, and turns errors into exit statuses."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import keyword
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from batchscope import __version__
from batchscope.cli.streams import terminal
from batchscope.errors import BatchscopeError, InputError, shown

# Command -> one line of help. Each lives in cli/<command>.py (`import` in import_.py) as
# `add_arguments(parser)` and `run(arguments) -> int`.
COMMANDS: dict[str, str] = {
    "measure": "gradient diversity of a model on a data set",
    "shapes": "shapes of one parameter budget, with the theory's ratio beside each",
    "theory": "closed forms and bounds of gradient diversity for one shape",
    "plan": "trials, cohorts and predicted time of a study; runs nothing",
    "run": "finish a study, or what is left of it",
    "report": "verdict, table, figures and one HTML page of a run directory or a CSV; a gate for CI",
    "advise": "time and cost to target against the number of workers, wide against deep",
    "merge": "the results of several run directories, of shards for example, in one",
    "export": "the rows of a run directory as csv, parquet or json",
    "import": "results of other tools (CSV, W&B, Optuna, batch_science) as a CSV that report reads",
    "recipes": "the paper's experiments and the quickstart, with their costs",
    "data": "where data is, fetch it with checksum, verify it",
    "doctor": "versions, threads, devices, executors, data found",
    "selftest": "run the analysis on problems whose answer is known, and print expected and got",
}

EXIT_INTERRUPTED = 130
INTERRUPTED = "interrupted; what was finished is kept, the same command resumes"


def build_parser(command: str | None) -> argparse.ArgumentParser:
    """Build the parser, loading the module of `command` only: `batchscope --help` imports no command at all."""
    parser = argparse.ArgumentParser(prog="batchscope", description="How large a batch can a network take?")
    parser.add_argument("--version", action="version", version=f"batchscope {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=summary, description=summary)
        if name == command:
            _module(name).add_arguments(subparser)
            subparser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    return parser


def _module(command: str) -> Any:
    """The module of a command; that of a word of Python's own ends with an underscore."""
    return importlib.import_module(f"batchscope.cli.{command}{'_' if keyword.iskeyword(command) else ''}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return 0 done, 1 some trials crashed, 2 unusable input, 130 interrupted."""
    with _quiet_start() as started, terminal():
        words = list(sys.argv[1:] if argv is None else argv)
        command = next((word for word in words if not word.startswith("-")), None)
        arguments = _parsed(build_parser(command), words)
        started()
        try:
            return int(_module(arguments.command).run(arguments))
        except BatchscopeError as error:
            return _refuse(arguments, error)
        except OSError as error:
            if error.filename is None:
                raise
            # A path that was given, and that the system refuses: too long, not permitted, in a file that is no folder.
            return _refuse(arguments, InputError(f"{shown(error.filename)}: {error.strerror}"))
        except KeyboardInterrupt:
            print(INTERRUPTED, file=sys.stderr)
            return EXIT_INTERRUPTED


def _parsed(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    for word in words:
        if word.startswith("--") and word.endswith("=--"):  # Python would take it for the end of the options: a list
            parser.error(f"argument {word.removesuffix('=--')}: expected one argument")
    return parser.parse_args(words)


def _refuse(arguments: argparse.Namespace, error: BatchscopeError) -> int:
    if arguments.json:
        from batchscope.cli.console import print_json  # with rich and numpy: not at every start

        print_json({"error": str(error), "kind": type(error).__name__})
    print(f"batchscope {arguments.command}: {error}", file=sys.stderr)
    return error.exit_status


@contextlib.contextmanager
def _quiet_start() -> Iterator[Callable[[], object]]:
    """Let Ctrl-C end the program at once, without a traceback, until the function that is yielded is called.

    While modules are imported an exception may come anywhere in them, and some take it for a failed import.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        yield int  # whoever calls has a say in it, or is a thread, which gets no signals
        return
    signal.signal(signal.SIGINT, _leave)
    try:
        yield lambda: signal.signal(signal.SIGINT, before)
    finally:
        signal.signal(signal.SIGINT, before)


def _leave(*_: object) -> None:
    os.write(2, f"{INTERRUPTED}\n".encode())
    os._exit(EXIT_INTERRUPTED)


if __name__ == "__main__":
    raise SystemExit(main())
