"""Texts in which every character is seen: names, paths and messages come from files that others wrote."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

# Control characters but for line breaks and tabs; marks that turn the direction of text; halves of surrogate pairs.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    """Return text in which no character moves the cursor, changes colours or turns lines round.

    >>> visible("na\\x1b[31mme")
    'na\\\\u001b[31mme'
    """
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def all_visible(value: Any) -> Any:
    """The same record, sequence or mapping with every text in it `visible`."""
    if isinstance(value, str):
        return visible(value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{field.name: all_visible(getattr(value, field.name)) for field in fields(value)})
    if isinstance(value, Mapping):
        return {all_visible(key): all_visible(one) for key, one in value.items()}
    return type(value)(map(all_visible, value)) if type(value) in (tuple, list) else value
