"""The charts of a study: each registers itself under a section of the page, and is drawn where its rows allow it.

A new chart is one file beside this one, a function from a `Digest` to a `Chart`, and its name in the package's list:

    @chart_of(Section.TUNING)
    def step_sizes(one: Digest) -> Chart | None:
        ...

The function's name is the chart's: that of its files, and of its place on the page.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TypeAlias

from batchscope.analysis.digest import Digest
from batchscope.report.charts.chart import Chart

Describe: TypeAlias = Callable[[Digest], Chart | None]


class Section(Enum):
    """The sections of a study's page that hold charts, in their order; the value is the title."""

    TO_TARGET = "Epochs and steps to target"
    SHAPE_BY_SIZE = "Shape by batch size"
    WITHIN_EPOCHS = "Largest batch within E epochs"
    TUNING = "Tuned step size"
    DIVERSITY = "Gradient diversity"
    SENSITIVITY = "Residuals and sensitivity"


CHARTS: dict[str, tuple[Section, Describe]] = {}


def chart_of(section: Section) -> Callable[[Describe], Describe]:
    """Register a function that describes a chart of a study, or returns None where its rows do not allow it."""

    def register(describe: Describe) -> Describe:
        name = describe.__name__
        if name in CHARTS:
            raise ValueError(f"two charts are named {name!r}")
        CHARTS[name] = section, describe
        return describe

    return register


def charts(one: Digest, section: Section | None = None) -> dict[str, Chart]:
    """Name -> chart, for the charts of one section, or all, that the rows allow."""
    asked = {name: describe for name, (where, describe) in CHARTS.items() if section in (None, where)}
    found = {name: describe(one) for name, describe in asked.items()}
    return {name: chart for name, chart in found.items() if chart is not None}
