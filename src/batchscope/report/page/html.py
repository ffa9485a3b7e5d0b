"""One self-contained HTML page: no network, readable on a phone, on paper and in the dark; plotly embedded once."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from batchscope.analysis.digest import Digest
from batchscope.errors import StoreError
from batchscope.records.rows import Rows
from batchscope.report.drawing import palette
from batchscope.report.page.parts import Chart, Section
from batchscope.report.page.records import CSV_COLUMNS, csv_text, embedded, packed, provenance, run_records
from batchscope.report.page.sections import headline, sections

HEAT_LIGHT = ("#e8f0f5", "#a9cadc", "#5b9bbd", "#2a6694", "#172f5c")
HEAT_DARK = ("#1b3350", "#24557f", "#3683ab", "#74b6d2", "#cfe6f0")


@dataclass(frozen=True)
class Origin:
    """Where a page comes from, for its provenance.

    command: what wrote the page. study_file: the text of the study that was run. runs: a record of every call of `run`
    (started, command, machine, versions, ...). notes: study name -> what its author says about it: assumptions, scale.
    """

    command: str = ""
    study_file: str = ""
    runs: Sequence[Mapping[str, Any]] = ()
    notes: Mapping[str, Sequence[str]] = field(default_factory=dict)


def write_page(digests: Mapping[str, Digest], file: str | Path, origin: Origin | None = None) -> Path:
    """Write the page of one or more studies (name -> digest) to `file`; return its path.

    Raises StoreError when the file cannot be written.
    """
    path = Path(file)
    text = page(digests, origin)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror or error}; choose another place") from None
    return path


def page(digests: Mapping[str, Digest], origin: Origin | None = None) -> str:
    """Return the text of the page; the same rows give the same text."""
    from plotly.offline import get_plotlyjs

    origin = origin or Origin()
    rows = Rows.joined(one.rows for one in digests.values())
    with ThreadPoolExecutor() as background:  # compressing leaves the interpreter free to go on
        plotly = background.submit(packed, get_plotlyjs())  # a third of its size, for 10^5 runs
        rows_data = background.submit(embedded, csv_text(rows))
        parts = {f"s{number}": sections(one) for number, one in enumerate(digests.values(), start=1)}
        charts = background.submit(embedded, _json({"charts": _figures(parts), "colours": _colours(digests)}))
    data_encoding, data = rows_data.result()
    charts_encoding, charts_data = charts.result()
    name = escape(" / ".join(digests) or "no studies")
    values = {
        "title": name,
        "navigation": _navigation(digests, parts),
        "studies": "".join(
            _study(name, one, prefix, parts[prefix], origin.notes.get(name, ()))
            for (name, one), prefix in zip(digests.items(), parts, strict=True)
        ),
        "provenance": _provenance(rows, origin),
        "num_rows": f"{len(rows)}",
        "columns": escape(", ".join(CSV_COLUMNS)),
        "data_encoding": data_encoding,
        "data": data,
        "style": _asset("page.css"),
        "script": _asset("page.js"),
        "plotly": plotly.result(),
        "charts_encoding": charts_encoding,
        "charts": charts_data,
    }
    return Template(_asset("page.html")).substitute(values)


def _study(name: str, one: Digest, prefix: str, parts: Sequence[Section], notes: Sequence[str]) -> str:
    body = "".join(part.html(prefix) for part in parts)
    head = f'<h2>{escape(name)}</h2><p class="about">{escape(one.about.subtitle)}</p>'
    said = "".join(f"<li>{escape(note.removeprefix(name).strip().removeprefix('is '))}</li>" for note in notes)
    said = f'<ul class="notes">{said}</ul>' if said else ""
    return f'<article id="{prefix}">{head}{said}{body}</article>'


def _navigation(digests: Mapping[str, Digest], parts: Mapping[str, Sequence[Section]]) -> str:
    """Return links to every section, study by study, each under its verdict."""
    groups = []
    for (name, one), (prefix, found) in zip(digests.items(), parts.items(), strict=True):
        links = "".join(f'<a href="#{prefix}-{part.number}">{part.number} {escape(part.title)}</a>' for part in found)
        groups.append(f"<p><b>{escape(name)}</b> <i>{escape(headline(one))}</i></p><div>{links}</div>")
    return "".join(groups) + '<div><a href="#provenance">9 Provenance</a><a href="#data-section">10 Data</a></div>'


def _provenance(rows: Rows, origin: Origin) -> str:
    blocks = [provenance(rows).html()]
    if origin.runs:
        blocks.append(run_records(origin.runs).html())
    if origin.command:
        blocks.append(f"<p>This page was written by</p><pre>{escape(origin.command)}</pre>")
    if origin.study_file:
        blocks.append(
            "<p>The study as it was run; save it as study.toml, and <code>batchscope run study.toml --out DIR</code> "
            f"repeats it</p><pre>{escape(origin.study_file)}</pre>"
        )
    return "".join(blocks)


def _figures(parts: Mapping[str, Sequence[Section]]) -> dict[str, Any]:
    """Return DOM id -> figure and slider frames of every chart."""
    charts = [(prefix, chart) for prefix, found in parts.items() for part in found for chart in part.charts]
    return {f"{prefix}-{chart.name}": _figure(chart) for prefix, chart in charts}


def _figure(chart: Chart) -> dict[str, Any]:
    slider = chart.slider
    frames = {"frames": slider["frames"], "values": slider["values"], "start": slider["start"]} if slider else {}
    return {**chart.figure, **frames}


def _colours(digests: Mapping[str, Digest]) -> dict[str, Any]:
    most = max((len(one.sweeps) for one in digests.values()), default=1) or 1
    return {
        "light": {"shape": palette.ramp(most), "heat": HEAT_LIGHT},
        "dark": {"shape": palette.ramp(most, palette.DARK_ANCHORS), "heat": HEAT_DARK},
    }


def _json(value: Any) -> str:
    """Return compact JSON that cannot end the <script> it stands in; numbers that are not finite become null."""
    return json.dumps(_finite(value), separators=(",", ":"), ensure_ascii=False, allow_nan=False).replace(
        "<", "\\u003c"
    )


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _asset(name: str) -> str:
    return resources.files("batchscope.report.page").joinpath("assets", name).read_text(encoding="utf-8")
