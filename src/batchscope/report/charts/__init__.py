"""Each chart of a report, described once, as data; a study's charts register themselves when they are imported here."""

from __future__ import annotations

from importlib import import_module

from batchscope.report.charts.chart import Chart
from batchscope.report.charts.registry import CHARTS, Section, charts

IN_ORDER = (
    "to_target",
    "heat_map",
    "largest_batch",
    "step_sizes",
    "protocols",
    "diversity",
    "diversity_by_shape",
    "diversity_threshold",
    "residuals",
    "definitions",
    "targets",
)
for _name in IN_ORDER:
    import_module(f"{__name__}.{_name}")

__all__ = ["CHARTS", "Chart", "Section", "charts"]
