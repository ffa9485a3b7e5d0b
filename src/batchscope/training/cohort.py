"""Cohorts: all members of one architecture and batch size trained together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from batchscope.training.settings import Member, MemberResult, Settings

if TYPE_CHECKING:
    from batchscope.architectures import Architecture


def train_cohort(architecture: Architecture, settings: Settings, members: Sequence[Member]) -> list[MemberResult]:
    """Being written."""
    raise NotImplementedError
