"""The console every command prints to."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console

_WIDTH_OF_A_FILE = 160  # where there is no terminal to ask: wide enough that no path is cut


def console() -> Console:
    """Return the console of standard output: as wide as the terminal, plain and wide when it is a file or pipe."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH_OF_A_FILE)


def print_json(record: dict[str, Any]) -> None:
    """Print one JSON object on standard output; what JSON does not know is written as text."""
    print(json.dumps(record, default=str))
