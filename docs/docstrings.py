"""How the site reads docstrings: arguments are lines "name: meaning", examples are doctests, the rest is Markdown."""

from __future__ import annotations

import re
from typing import Any

import griffe

_EXAMPLE = re.compile(r"(?:^|\n)(>>> .*(?:\n(?!\n).*)*)")
_NAME = r"\*{0,2}[a-zA-Z_]\w*"
_ARGUMENT = re.compile(rf"^(\s*)({_NAME}(?:, {_NAME})*): (\S.*)$")


class Docstrings(griffe.Extension):
    """Turns each docstring into the Markdown that it means."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring:
            obj.docstring.value = markdown(obj.docstring.value)


def markdown(text: str) -> str:
    """A docstring as Markdown: doctests fenced, lines "name: meaning" as a list."""
    fenced = _EXAMPLE.sub(lambda match: f"\n```pycon\n{match.group(1)}\n```", text)
    parts = re.split(r"(```pycon\n.*?\n```)", fenced, flags=re.DOTALL)
    return "".join(part if part.startswith("```") else _lists(part) for part in parts)


def _lists(text: str) -> str:
    return "\n\n".join(_listed(paragraph) for paragraph in text.split("\n\n"))


def _listed(paragraph: str) -> str:
    """A paragraph of "name: meaning" lines, with indented continuations, as a list; others as they are."""
    lines = [line for line in paragraph.strip("\n").split("\n") if line.strip() not in ("Args:", "Returns:", "Raises:")]
    first = _ARGUMENT.match(lines[0]) if lines else None
    if first is None:
        return "\n".join(line.strip() if paragraph.startswith(" ") else line for line in lines)
    entries: list[str] = []
    for line in lines:
        found = _ARGUMENT.match(line)
        if found and len(found.group(1)) <= len(first.group(1)):
            entries.append(f"* **{found.group(2)}**: {found.group(3)}")
        else:
            entries[-1] += f" {line.strip()}"
    return "\n".join(entries)
