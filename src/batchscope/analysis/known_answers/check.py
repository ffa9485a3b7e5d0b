"""`Check`: one known answer, expected and got."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from batchscope.analysis.formatting import fields_of


@dataclass(frozen=True)
class Check:
    """One known answer: what was asked, where the answer comes from, expected and got in words, whether they agree."""

    name: str
    source: str
    expected: str
    got: str
    passed: bool

    def __post_init__(self) -> None:
        object.__setattr__(self, "passed", bool(self.passed))  # numpy's own is no JSON

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return fields_of(self)
