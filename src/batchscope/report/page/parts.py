"""What a page is made of: sections of text, charts and tables; a chart always carries the table of its numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

Figure = Mapping[str, Any]  # {"data": [...], "layout": {...}} as plotly.js takes it; colours as tokens, see `layout.py`


@dataclass(frozen=True)
class Table:
    """heads: column names, with units. lines: one text per cell. caption: what the numbers are, n and interval."""

    heads: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    caption: str = ""

    def html(self) -> str:
        """Return a <table>; every text is escaped, columns of numbers are set flush right."""
        right = [_is_numeric(column) for column in zip(*self.lines, strict=True)] or [False] * len(self.heads)
        head = "".join(_cell("th", text, flush) for text, flush in zip(self.heads, right, strict=True))
        body = "".join(
            f"<tr>{''.join(_cell('td', text, flush) for text, flush in zip(line, right, strict=True))}</tr>"
            for line in self.lines
        )
        body = body or f'<tr><td colspan="{len(self.heads)}">no rows</td></tr>'
        caption = f'<p class="caption">{escape(self.caption)}</p>' if self.caption else ""
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        return f'{caption}<div class="scroll">{table}</div>'


def _cell(tag: str, text: str, flush_right: bool) -> str:
    return f"<{tag}{' class=n' if flush_right else ''}>{escape(text)}</{tag}>"


def _is_numeric(column: Sequence[str]) -> bool:
    """Whether a column holds numbers, with bounds ("> 40"), intervals or a unit of time, or nothing ("-")."""
    return all(re.fullmatch(r"[-+≥>< \d.,e\[\]]*( s| min| h)?", text) for text in column)


@dataclass(frozen=True)
class Chart:
    """A figure of the page. note: the definition, n and interval of what is drawn. table: the same numbers.

    slider: None, or what a slider under the chart chooses: {"label", "values", "start", "frames"}, where frames[k] is
    what to put into the traces (plotly's restyle) at values[k].
    """

    name: str
    title: str
    figure: Figure
    note: str
    table: Table
    slider: Mapping[str, Any] | None = None

    def html(self, prefix: str) -> str:
        name = escape(f"{prefix}-{self.name}")
        return (
            f'<figure><h4>{escape(self.title)}</h4><div class="chart" id="{name}" role="img" '
            f'aria-label="{escape(self.title)}; its numbers are in the table below"></div>{self._slider(name)}'
            f"<figcaption>{escape(self.note)}</figcaption>"
            f"<details><summary>Table of these numbers</summary>{self.table.html()}</details></figure>"
        )

    def _slider(self, name: str) -> str:
        if self.slider is None:
            return ""
        start, last = self.slider["start"], len(self.slider["values"]) - 1
        return (
            f'<label class="slider">{escape(self.slider["label"])} '
            f'<input type="range" min="0" max="{last}" step="1" value="{start}" data-chart="{name}"> '
            f"<output>{escape(str(self.slider['values'][start]))}</output></label>"
        )


@dataclass(frozen=True)
class Section:
    """One numbered part of a study's report. text: paragraphs, escaped here. html: parts that are HTML already."""

    number: int
    title: str
    text: tuple[str, ...] = ()
    charts: tuple[Chart, ...] = ()
    tables: tuple[Table, ...] = ()
    html_first: str = ""

    def html(self, prefix: str) -> str:
        paragraphs = "".join(f"<p>{escape(paragraph)}</p>" for paragraph in self.text)
        charts = "".join(chart.html(prefix) for chart in self.charts)
        tables = "".join(table.html() for table in self.tables)
        return (
            f'<section id="{escape(prefix)}-{self.number}"><h3><span>{self.number}</span> {escape(self.title)}</h3>'
            f"{self.html_first}{paragraphs}{charts}{tables}</section>"
        )
