"""What a study says, written down: tidy tables, static figures, one self-contained HTML page. No torch."""

from __future__ import annotations

from batchscope.report.cells import Cell, Mean, cells
from batchscope.report.context import Context, context
from batchscope.report.digest import Digest, digest

__all__ = ["Cell", "Context", "Digest", "Mean", "cells", "context", "digest"]
