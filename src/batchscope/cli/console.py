"""The console every command prints tables to."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from batchscope.analysis.formatting import plain
from batchscope.visible import visible

_WIDTH_OF_A_FILE = 160  # where there is no terminal to ask: wide enough that no path is cut


class _PlainConsole(Console):
    """Takes texts as they are: no markup in them, and no control characters but its own."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else visible(text), style, control)


def console(stderr: bool = False) -> Console:
    """Return the console of a standard stream: as wide as the terminal, plain and wide when it is a file or pipe."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _WIDTH_OF_A_FILE
    return _PlainConsole(file=getattr(stream, "acted_on", stream), highlight=False, markup=False, width=width)


def print_json(record: dict[str, Any]) -> None:
    """Print one JSON object: null for numbers that are not finite, text for what JSON does not know."""
    print(json.dumps(plain(record), default=str, allow_nan=False))
