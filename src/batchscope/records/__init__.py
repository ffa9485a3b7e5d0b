"""What one training run was and what came of it: rows, their histories, how they are stored and exported. No torch."""

from __future__ import annotations

from batchscope.records.plain import runs
from batchscope.records.row import Evaluation, Outcome, Row, Target
from batchscope.records.rows import Rows

__all__ = ["Evaluation", "Outcome", "Row", "Rows", "Target", "runs"]
