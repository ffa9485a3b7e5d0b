"""Tables in Markdown, and pages whose tables are filled in between two comments."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from batchscope.errors import choose

_BLOCK = re.compile(r"(<!-- rows: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> list[str]:
    """A table, line by line. What would end a cell is put as another sign."""
    rows = ["| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |" for cells in (heads, *lines)]
    return [rows[0], "| --- " * len(heads) + "|", *rows[1:]]


def filled(page: str, blocks: Mapping[str, Callable[[], list[str]]]) -> str:
    """The page with every ``<!-- rows: NAME --> ... <!-- end -->`` filled with the lines of that block."""

    def fill(match: re.Match[str]) -> str:
        lines = blocks[choose("block", match[2], blocks)]()
        return "\n".join([match[1], *lines, "", match[3]])

    return _BLOCK.sub(fill, page)


def names(page: str) -> list[str]:
    """The blocks of a page, in order."""
    return [match[2] for match in _BLOCK.finditer(page)]
