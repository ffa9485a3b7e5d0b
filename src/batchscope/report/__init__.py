"""What a study says, written down: tidy tables, static figures, one self-contained HTML page. No torch."""

from __future__ import annotations

from batchscope.analysis.cells import Cell, cells
from batchscope.analysis.context import Context, context
from batchscope.analysis.digest import Digest, digest
from batchscope.analysis.summaries import Summary

__all__ = ["Cell", "Context", "Digest", "Summary", "cells", "context", "digest"]
