"""Running a study: executors, the run directory, shards and merging, progress, provenance."""

from __future__ import annotations

from batchscope.running.merging import merge
from batchscope.running.progress import Status
from batchscope.running.runner import run
from batchscope.running.study_loop import StudyLoop

__all__ = ["Status", "StudyLoop", "merge", "run"]
