"""The sections of one study: verdict, charts, records; and what each says where there is nothing to show."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape

from batchscope.analysis import Finding
from batchscope.analysis.digest import Digest
from batchscope.analysis.formatting import probability_text
from batchscope.analysis.headline import Headline
from batchscope.report import words
from batchscope.report.charts import Chart, Section, charts
from batchscope.report.charts.chart import Table
from batchscope.report.page.parts import PagePart
from batchscope.report.page.records import ledger
from batchscope.report.page.tables import exploratory_table, fit_table, ratios_table, slopes_table, thresholds_table
from batchscope.report.page.workers import workers_part
from batchscope.scaling import TimeModel

EMPTY = "No final run has been recorded yet: run the study first, or to its end, and write this page again."
NO_DIVERSITY = "It was not measured in these runs: set diversity_every in the study file."
NOBODY = "No run reached the target, so no number of epochs can be allowed."


def sections(one: Digest, prefix: str = "", times: Mapping[str, TimeModel] | None = None) -> tuple[PagePart, ...]:
    """The sections of a study's report, in order: verdict, one for each kind of chart, workers, ledger.

    prefix: of its ids on the page. times: shape -> time model; without any, there is no section on workers.
    """
    workers = (workers_part(one, times, prefix),) if times and one.fits else ()
    return (_verdict(one), *(_charts(one, section) for section in Section), *workers, _ledger(one))


def _charts(one: Digest, section: Section) -> PagePart:
    """The charts of a section with the tables that stand beside them."""
    found = charts(one, section)
    text = (f"{one.tuning.statement}.",) if section is Section.TUNING and found else ()
    return PagePart(section.value, text or _why_empty(one, section, found), found, _tables(one, section))


def _tables(one: Digest, section: Section) -> tuple[Table, ...]:
    if section is Section.TO_TARGET and one.fits:
        return (fit_table(one),)
    return (slopes_table(one),) if section is Section.TUNING and one.tuning.cells else ()


def _why_empty(one: Digest, section: Section, found: dict[str, Chart]) -> tuple[str, ...]:
    """What to say instead of charts."""
    if found:
        return ()
    if not one.table:
        return (EMPTY,)
    return ({Section.DIVERSITY: NO_DIVERSITY, Section.WITHIN_EPOCHS: NOBODY}.get(section, EMPTY),)


def _verdict(one: Digest) -> PagePart:
    """The headline, as the terminal and --json have it, the paper's findings, and the numbers behind both."""
    ratios = (ratios_table(one),) if one.epoch_ratios.ends else ()
    exploratory = (exploratory_table(one),) if one.exploratory else ()
    lead = f"{_headline(one.headline)}{_findings(one.findings)}"
    return PagePart("Verdict", lead=lead, tables=(*ratios, thresholds_table(one, EMPTY), *exploratory))


def _headline(said: Headline) -> str:
    """Its sentences in their order: epochs in large letters, slow-down and advice, who is who in small ones."""
    first, *others = [sentence for sentence in (said.epochs, said.slow_down, said.advice) if sentence]
    rest = "".join(f"<p>{escape(sentence)}</p>" for sentence in others)
    shapes = f"<p><small>{escape(said.shapes)}</small></p>" if said.shapes else ""
    return f'<div class="verdict"><p><b>{escape(first)}</b></p>{rest}{shapes}</div>'


def _findings(found: tuple[Finding, ...]) -> str:
    items = "".join(map(_finding, found))
    return (
        f'<h4>{escape(words.FINDINGS_TITLE)}</h4><ul class="findings">{items}</ul>'
        f'<p class="caption">{escape(words.FINDINGS_MEANING)}.</p>'
    )


def _finding(one: Finding) -> str:
    """A statement of the paper, the decision, the statistic with its interval, and what it rests on."""
    because = one.sentence.removeprefix(one.statement).strip()
    because = because.removeprefix(f"{one.decision.capitalize()}: ")
    statistic, sure = words.statistic(one), probability_text(one.probability)
    known = "" if math.isnan(one.probability) else f", P {sure if sure[:1] in '<>' else f'= {sure}'}"
    numbers = "" if statistic == "-" else f"{statistic}{known}"
    return (
        f'<li><b class="{escape(one.decision)}">{escape(one.decision)}</b> <span>{escape(one.name)}</span> '
        f"{escape(one.statement)}<br>{f'<strong>{escape(numbers)}</strong><br>' if numbers else ''}"
        f"<small>{escape(because[:1].upper() + because[1:])}</small></li>"
    )


def _ledger(one: Digest) -> PagePart:
    text = f"{len(one.rows)} runs, tuning included. Every one of them is in the data at the end of this page."
    return PagePart("Run ledger", (text,), tables=ledger(one.rows))
