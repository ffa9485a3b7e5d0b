"""The parts of a page as HTML: sections of text, charts and tables; a chart always carries the table of its numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from batchscope.report.charts.chart import Chart, Table


@dataclass(frozen=True)
class PagePart:
    """One numbered part of a study's report. text: paragraphs, escaped here. lead: HTML to begin with.

    charts: name -> chart; their names are unique in a study. computed: what the page's script computes
    its numbers from.
    """

    title: str
    text: tuple[str, ...] = ()
    charts: Mapping[str, Chart] = field(default_factory=dict)
    tables: tuple[Table, ...] = ()
    lead: str = ""
    computed: Any = None


def slug(title: str) -> str:
    """A title as it stands in a link."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def section_html(number: int, title: str, anchor: str, body: str) -> str:
    """A section with its number, heading, and the id that links lead to."""
    return f'<section id="{escape(anchor)}"><h3><span>{number}</span> {escape(title)}</h3>{body}</section>'


def part_html(part: PagePart, prefix: str, number: int, figures: Mapping[str, Mapping[str, Any]]) -> str:
    """The part under its heading. figures: DOM id -> what plotly draws, for the charts' heights."""
    paragraphs = "".join(f"<p>{escape(paragraph)}</p>" for paragraph in part.text)
    ids = {name: f"{prefix}-{name}" for name in part.charts}
    charts = "".join(chart_html(chart, ids[name], figures[ids[name]]) for name, chart in part.charts.items())
    tables = "".join(map(table_html, part.tables))
    return section_html(number, part.title, f"{prefix}-{slug(part.title)}", f"{part.lead}{paragraphs}{charts}{tables}")


def chart_html(chart: Chart, name: str, figure: Mapping[str, Any]) -> str:
    """The place of a chart with its slider, caption and table."""
    name = escape(name)
    height = int(figure["layout"]["height"])  # of the place: plotly fits itself to it when a window is resized
    table = "" if chart.table is None else _folded(chart.table)
    return (
        f'<figure><h4>{escape(chart.title)}</h4><div class="chart" id="{name}" style="height:{height}px" role="img" '
        f'aria-label="{escape(chart.title)}; its numbers are in the table below"></div>{_slider(chart, name)}'
        f"<figcaption>{escape(chart.caption)}</figcaption>{table}</figure>"
    )


def _folded(table: Table) -> str:
    return f"<details><summary>Table of these numbers</summary>{table_html(table)}</details>"


def _slider(chart: Chart, name: str) -> str:
    if not chart.slider:
        return ""
    return (
        f'<label class="slider">{escape(chart.slider)} '
        f'<input type="range" min="0" max="{len(chart.panels) - 1}" step="1" value="{chart.start}" '
        f'data-chart="{name}"> '
        f"<output>{escape(chart.panels[chart.start].title)}</output></label>"
    )


def table_html(table: Table) -> str:
    """A <table>; every text is escaped, columns of numbers are set flush right."""
    right = [_is_numeric(column) for column in zip(*table.lines, strict=True)] or [False] * len(table.heads)
    head = "".join(_cell("th", text, flush) for text, flush in zip(table.heads, right, strict=True))
    body = "".join(
        f"<tr>{''.join(_cell('td', text, flush) for text, flush in zip(line, right, strict=True))}</tr>"
        for line in table.lines
    )
    body = body or f'<tr><td colspan="{len(table.heads)}">no rows</td></tr>'
    caption = f'<p class="caption">{escape(table.caption)}</p>' if table.caption else ""
    return f'{caption}<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(tag: str, text: str, flush_right: bool) -> str:
    return f"<{tag}{' class=n' if flush_right else ''}>{escape(text)}</{tag}>"


def _is_numeric(column: Sequence[str]) -> bool:
    """Whether a column holds numbers, with bounds ("> 40"), intervals or a unit of time, or nothing ("-")."""
    return any(column) and all(re.fullmatch(r"[-+≥>=< \d.,e\[\]]*( s| min| h)?", text) for text in column)
