"""One self-contained HTML page: no network, readable on a phone, on paper and in the dark; plotly embedded once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from batchscope.analysis.digest import Digest
from batchscope.analysis.formatting import plain
from batchscope.records.rows import Rows
from batchscope.report.drawing import interactive, palette
from batchscope.report.page.parts import PagePart, part_html, section_html, slug, table_html
from batchscope.report.page.records import CSV_COLUMNS, embedded, packed, provenance, rows_as_csv, run_records
from batchscope.report.page.sections import sections
from batchscope.scaling import TimeModel
from batchscope.visible import visible
from batchscope.writing import write_text

PROVENANCE, DATA = "Provenance", "Data"  # the sections after those of the studies


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


def write_page(
    digests: Mapping[str, Digest],
    file: str | Path,
    origin: Origin | None = None,
    times: Mapping[str, TimeModel] | None = None,
) -> Path:
    """Write the page of one or more studies (name -> digest) to `file`; return its path.

    times: shape -> its time model (`bs.scaling`), for a section on what more workers buy.
    A page that was there stays until the new one is whole. Raises StoreError when the file cannot be written.
    """
    write_text(file, page(digests, origin, times))
    return Path(file)


def page(
    digests: Mapping[str, Digest], origin: Origin | None = None, times: Mapping[str, TimeModel] | None = None
) -> str:
    """Return the text of the page; the same rows give the same text."""
    from plotly.offline import get_plotlyjs

    origin = origin or Origin()
    rows = Rows.joined(one.rows for one in digests.values())
    with ThreadPoolExecutor() as background:  # compressing leaves the interpreter free to go on
        plotly = background.submit(packed, get_plotlyjs())  # a third of its size, for 10^5 runs
        rows_data = background.submit(embedded, rows_as_csv(rows))
        named = {f"s{number}": one for number, one in enumerate(digests.values(), start=1)}
        parts = {prefix: sections(one, prefix, times) for prefix, one in named.items()}
        figures = _figures(parts)
        drawn = {"charts": figures, "colours": _colours(parts), "workers": _computed(parts)}
        charts = background.submit(embedded, _json(drawn))
        studies = _studies(digests, parts, figures, origin)
    data_encoding, data = rows_data.result()
    charts_encoding, charts_data = charts.result()
    last = max((len(found) for found in parts.values()), default=0)
    values = {
        "title": visible(escape(" / ".join(digests) or "no studies")),
        "navigation": visible(_navigation(digests, parts, last)),
        "studies": visible(studies),
        "provenance": visible(section_html(last + 1, PROVENANCE, slug(PROVENANCE), _provenance(rows, origin))),
        "data_section": section_html(last + 2, DATA, slug(DATA), _data(len(rows))),
        "data_encoding": data_encoding,
        "data": data,
        "style": _style(),
        "script": f"{_asset('workers.js')}\n{_asset('page.js')}",
        "plotly": plotly.result(),
        "charts_encoding": charts_encoding,
        "charts": charts_data,
    }
    return Template(_asset("page.html")).substitute(values)


def _studies(
    digests: Mapping[str, Digest],
    parts: Mapping[str, Sequence[PagePart]],
    figures: Mapping[str, Mapping[str, Any]],
    origin: Origin,
) -> str:
    return "".join(
        _study(name, one, prefix, parts[prefix], figures, origin.notes.get(name, ()))
        for (name, one), prefix in zip(digests.items(), parts, strict=True)
    )


def _study(
    name: str,
    one: Digest,
    prefix: str,
    parts: Sequence[PagePart],
    figures: Mapping[str, Mapping[str, Any]],
    notes: Sequence[str],
) -> str:
    body = "".join(part_html(part, prefix, number, figures) for number, part in enumerate(parts, start=1))
    head = f'<h2>{escape(name)}</h2><p class="about">{escape(one.about.subtitle)}</p>'
    said = "".join(f"<li>{escape(note.removeprefix(name).strip().removeprefix('is '))}</li>" for note in notes)
    said = f'<ul class="notes">{said}</ul>' if said else ""
    return f'<article id="{prefix}">{head}{said}{body}</article>'


def _navigation(digests: Mapping[str, Digest], parts: Mapping[str, Sequence[PagePart]], last: int) -> str:
    """Return links to every section, study by study; of several, each under the first sentence of its headline."""
    groups = []
    for (name, one), (prefix, found) in zip(digests.items(), parts.items(), strict=True):
        links = "".join(_link(k, part.title, f"{prefix}-{slug(part.title)}") for k, part in enumerate(found, start=1))
        said = one.headline.epochs or one.headline.slow_down if len(digests) > 1 else ""
        groups.append(f"<p><b>{escape(name)}</b> <i>{escape(said)}</i></p><div>{links}</div>")
    common = "".join(_link(last + k, title, slug(title)) for k, title in enumerate((PROVENANCE, DATA), start=1))
    return f"{''.join(groups)}<div>{common}</div>"


def _link(number: int, title: str, anchor: str) -> str:
    return f'<a href="#{escape(anchor)}">{number} {escape(title)}</a>'


def _provenance(rows: Rows, origin: Origin) -> str:
    blocks = [table_html(provenance(rows))]
    if origin.runs:
        blocks.append(table_html(run_records(origin.runs)))
    if origin.command:
        blocks.append(f"<p>This page was written by</p><pre>{escape(origin.command)}</pre>")
    if origin.study_file:
        blocks.append(
            "<p>The study as it was run; save it as study.toml, and <code>batchscope run study.toml --out DIR</code> "
            f"repeats it</p><pre>{escape(origin.study_file)}</pre>"
        )
    return "".join(blocks)


def _data(num_rows: int) -> str:
    return Template(_asset("data.html")).substitute(num_rows=num_rows, columns=escape(", ".join(CSV_COLUMNS)))


def _figures(parts: Mapping[str, Sequence[PagePart]]) -> dict[str, dict[str, Any]]:
    """Return DOM id -> figure and slider frames of every chart."""
    return {
        f"{prefix}-{name}": interactive.draw(chart)
        for prefix, found in parts.items()
        for part in found
        for name, chart in part.charts.items()
    }


def _computed(parts: Mapping[str, Sequence[PagePart]]) -> dict[str, Any]:
    """Return prefix of a study -> what the script computes the numbers of its section on workers from."""
    return {prefix: part.computed for prefix, found in parts.items() for part in found if part.computed is not None}


def _colours(parts: Mapping[str, Sequence[PagePart]]) -> dict[str, Any]:
    every = [chart for found in parts.values() for part in found for chart in part.charts.values()]
    counts = {count for chart in every for count in interactive.counts(chart)}
    return {
        name: interactive.colours(counts, theme) for name, theme in (("light", palette.LIGHT), ("dark", palette.DARK))
    }


def _style() -> str:
    """The style sheet, with the inks of both themes as its variables; paper is light."""
    light, dark = (
        "".join(f"--{name}:{getattr(theme, name)};" for name in ("ink", "muted", "grid", "paper"))
        for theme in (palette.LIGHT, palette.DARK)
    )
    variables = f":root{{{light}}}\n@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}"
    return f"{variables}\n{_asset('page.css')}"


def _json(value: Any) -> str:
    """Return compact JSON that cannot end the <script> it stands in; numbers that are not finite become null."""
    text = json.dumps(plain(value), separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c")


def _asset(name: str) -> str:
    return resources.files("batchscope.report.page").joinpath("assets", name).read_text(encoding="utf-8")
