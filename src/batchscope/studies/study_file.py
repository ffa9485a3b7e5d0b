"""Study files: TOML with the fields of one `Study`, or several studies as an array of tables ``[[studies]]``."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from batchscope.errors import InputError
from batchscope.studies.study import Study

Studies = tuple[Study, ...]


def as_studies(study: Study | Sequence[Study]) -> Studies:
    """Return one study or several as a tuple, refusing none at all and two of one name."""
    studies = (study,) if isinstance(study, Study) else tuple(study)
    names = [s.name for s in studies]
    if not studies:
        raise InputError("no study was given; expected a Study, or several with distinct names")
    if len(set(names)) < len(names):
        raise InputError(f"two studies of one name in {names}; give each its own name")
    return studies


def read_studies(source: str | Path) -> Studies:
    """Read all studies of a TOML file (a path) or of TOML text (a string with a line break or an equals sign)."""
    is_text = isinstance(source, str) and ("\n" in source or "=" in source)
    where = "the text" if is_text else str(source)
    try:
        values = tomllib.loads(str(source) if is_text else Path(source).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"the study file {where} cannot be read: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{where} is not valid TOML: {error}; every line is key = value, texts in quotes") from None
    if isinstance(values.get("studies"), list):
        return as_studies([Study.from_dict(_table(entry)) for entry in values["studies"]])
    return (Study.from_dict(values),)


def to_toml(*studies: Study) -> str:
    """Return the text of a study file that `read_studies` reads back as the same studies."""
    if len(studies) == 1:
        return _lines(studies[0])
    return "\n".join(f"[[studies]]\n{_lines(study)}" for study in studies)


def _table(entry: Any) -> Mapping[str, Any]:
    if not isinstance(entry, Mapping):
        raise InputError(f"studies holds {entry!r}; expected tables, each headed [[studies]]")
    return entry


def _lines(study: Study) -> str:
    return "".join(f"{key} = {_value(value)}\n" for key, value in study.to_dict().items())


def _key(key: str) -> str:
    return key if key.isascii() and key.replace("_", "").replace("-", "").isalnum() else _value(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        # JSON's escapes are TOML's, except that TOML wants DEL escaped too.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(str(key))} = {_value(item)}" for key, item in value.items()) + " }"
    return "[" + ", ".join(_value(item) for item in value) + "]"
