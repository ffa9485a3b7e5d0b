"""Study files: from TOML to the keys of every study in them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from batchscope.errors import InputError, shown
from batchscope.importing import look_in
from batchscope.studies import bounds


def tables_in(source: str | Path) -> list[Mapping[str, Any]]:
    """The keys of all studies of a TOML file (a path) or of TOML text (a string with a line break or an equals sign).

    Own code and data that they name are looked for beside the file too, from here on. InputError for what cannot be
    read, is no TOML or holds too many.
    """
    is_text = isinstance(source, str) and ("\n" in source or "=" in source)
    where = "the text" if is_text else str(source)
    text = str(source) if is_text else _text_of(Path(source))
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # no TOML, an integer of 5000 digits; 3000 brackets
        raise InputError(
            f"{where} is not valid TOML: {str(error)[:200]}; every line is key = value, texts in quotes"
        ) from None
    if not is_text:
        look_in(Path(source).resolve().parent)
    given = values.get("studies")
    if not isinstance(given, list):
        return [values]
    if len(given) > bounds.MOST_ENTRIES:
        raise InputError(f"{where} holds {len(given)} studies; expected at most {bounds.MOST_ENTRIES}")
    return [_table(entry) for entry in given]


def _text_of(path: Path) -> str:
    """The content of a study file; InputError for what cannot be one, before it is read."""
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"the study file {path} is no file")
        with path.open("rb") as file:
            content = file.read(bounds.LARGEST_FILE + 1)
        if len(content) > bounds.LARGEST_FILE:
            raise InputError(f"the study file {path} is larger than {bounds.LARGEST_FILE >> 20} MiB: no study is")
        return content.decode()
    except OSError as error:
        raise InputError(f"the study file {path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not valid TOML: {error}; expected UTF-8") from None


def _table(entry: Any) -> Mapping[str, Any]:
    if not isinstance(entry, Mapping):
        raise InputError(f"studies holds {shown(entry)}; expected tables, each headed [[studies]]")
    return entry
