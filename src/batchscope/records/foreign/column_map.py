"""A CSV of somebody else's heads, read by a map of columns: the bottom of every importer. No torch."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from batchscope.errors import InputError, choose, closest
from batchscope.records.plain_columns import COLUMNS

Table = list[dict[str, str]]


def read_csv(path: Path) -> Table:
    """Lines as head -> text. Raises InputError for a file that cannot be read, or has no lines."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = [{name: text or "" for name, text in line.items() if name} for line in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{path} cannot be read: {getattr(error, 'strerror', None) or error}; expected a CSV"
        ) from None
    if not table:
        raise InputError(f"{path} has no lines; expected a head and a line per run")
    return table


def parse_map(given: Sequence[str]) -> dict[str, str]:
    """``["steps=Steps to 90 %"]`` -> {"steps": "Steps to 90 %"}. Raises InputError for other columns than ours."""
    found = {}
    for text in given:
        name, sign, theirs = text.partition("=")
        if not sign or not theirs:
            raise InputError(f"--column {text!r}; expected OURS=THEIRS, such as steps='Steps to 90 %'")
        found[choose("column", name.strip(), COLUMNS)] = theirs.strip()
    return found


def mapped(table: Table, columns: Mapping[str, str], where: str) -> Table:
    """Our columns of every line: those that the map names, and those that have our names already.

    Raises InputError for a column that the table does not have.
    """
    heads = table[0]
    for ours, theirs in columns.items():
        if theirs not in heads:
            raise InputError(f"{where} has no column {theirs!r} (for {ours}): {closest(theirs, heads)}")
    own = {name: name for name in COLUMNS if name in heads}
    return [{ours: line[theirs] for ours, theirs in (own | dict(columns)).items()} for line in table]


def guessed(table: Table, candidates: Mapping[str, Sequence[str]], given: Mapping[str, str]) -> dict[str, str]:
    """The map, with the first of the candidates that the table has for each column that was not given."""
    heads = {head.lower(): head for head in table[0]}
    found = {
        ours: heads[name.lower()]
        for ours, names in candidates.items()
        for name in reversed(names)
        if name.lower() in heads
    }
    return found | dict(given)
