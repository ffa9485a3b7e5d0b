"""The keys of a study file as a table, from their declarations.

``python -m batchscope.studies.keys docs/studies.md`` writes it anew.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic_core import PydanticUndefined

from batchscope.option import Option
from batchscope.options import OPTIONS
from batchscope.studies.key_types import StepSizes
from batchscope.studies.study import Study
from batchscope.writing import write_text

HEAD = ("key", "value", "if left out", "meaning")
BEGIN, END = "<!-- keys of a study file: written by batchscope.studies.keys -->", "<!-- end of keys -->"


def table() -> str:
    """Return one line per key of a study file, as a Markdown table: what is trained first, then the options."""
    lines = [HEAD, ("---",) * len(HEAD), *_own_keys(), *map(_option, OPTIONS.values())]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def renewed(text: str) -> str:
    """Return a document with the table between its two comments written anew.

    Raises ValueError for a document without the comments.
    """
    before, _, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"expected {BEGIN!r} and {END!r} around the table")
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def _own_keys() -> Iterator[tuple[str, ...]]:
    for name, field in Study.model_fields.items():
        if name not in OPTIONS:
            yield f"`{name}`", str((field.examples or [""])[0]), _default(field.default), str(field.description)


def _option(option: Option) -> tuple[str, ...]:
    meaning = option.meaning
    if option.families or option.optimizers:
        what = f"{' and '.join(map(str, option.limited))}: " if option.limited else ""
        meaning += f" ({what}{' or '.join((*option.families, *option.optimizers))} only)"
    if option.by_family:
        return f"`{option.name}`", option.domain, "the family's first", meaning
    left_out = option.default if option.in_range(option.default) else ""
    return f"`{option.name}`", option.domain, _default(left_out), meaning


def _default(value: Any) -> str:
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, StepSizes):
        return f"{value.min:g} to {value.max:g}, ratio {value.ratio:g}"
    if isinstance(value, bool):
        return str(value).lower()
    return (
        ""
        if value
        in (
            None,
            (),
            {},
            "",
        )
        else str(value)
    )


def main(paths: list[str]) -> None:
    """Write the table anew in these documents."""
    for path in map(Path, paths):
        write_text(path, renewed(path.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main(sys.argv[1:])
