"""Training: update rules, targets and outcomes, and cohorts: many models of one shape trained together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from batchscope.importing import late_attribute
from batchscope.training.settings import Member, MemberResult, Settings

if TYPE_CHECKING:
    from batchscope.training.cohort import train_cohort

__all__ = ["Member", "MemberResult", "Settings", "train_cohort"]


def __getattr__(name: str) -> Any:
    return late_attribute(__name__, {"train_cohort": "cohort"}, name)
