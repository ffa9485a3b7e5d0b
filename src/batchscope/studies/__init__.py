"""Studies: config -> plan -> run -> store; protocols, executors, provenance. Reading results imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from batchscope.studies.config import StepSizes, Study
from batchscope.studies.export import export
from batchscope.studies.results import CellSummary, Results, Table, read
from batchscope.studies.study_file import read_studies

if TYPE_CHECKING:
    from batchscope.studies.progress import Status
    from batchscope.studies.runner import run

__all__ = ["CellSummary", "Results", "Status", "StepSizes", "Study", "Table", "export", "read", "read_studies", "run"]


def __getattr__(name: str) -> Any:
    if name == "run":
        from batchscope.studies.runner import run

        return run
    if name == "Status":
        from batchscope.studies.progress import Status

        return Status
    raise AttributeError(f"module 'batchscope.studies' has no attribute {name!r}")
