"""The sections of one study: verdict, charts, records; and what each says where there is nothing to show."""

from __future__ import annotations

import math
from html import escape

from batchscope.analysis import Correlation, Finding, Verdict
from batchscope.analysis.digest import Digest
from batchscope.analysis.formatting import probability_text
from batchscope.report.charts import Chart, Section, charts
from batchscope.report.charts.chart import Table
from batchscope.report.page.parts import Part
from batchscope.report.page.records import ledger
from batchscope.report.page.tables import fit_table, slopes_table, thresholds_table

EMPTY = "No final run has been recorded yet: run the study first, or to its end, and write this page again."
NO_DIVERSITY = "It was not measured in these runs: set diversity_every in the study file."
NOBODY = "No run reached the target, so no number of epochs can be allowed."


def sections(one: Digest) -> tuple[Part, ...]:
    """The sections of a study's report, in order: verdict, one for each kind of chart, ledger."""
    return (_verdict(one), *(_charts(one, section) for section in Section), _ledger(one))


def _charts(one: Digest, section: Section) -> Part:
    """The charts of a section with the tables that stand beside them."""
    found = charts(one, section)
    text = (f"{one.tuning.statement}.",) if section is Section.TUNING and found else ()
    return Part(section.value, text or _why_empty(one, section, found), found, _tables(one, section))


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


def headline(one: Digest) -> str:
    """Return the verdict in the fewest words: "wide beats deep: probability 0.97" or "undecided"."""
    verdict = one.verdict
    if math.isnan(verdict.probability):
        return "Undecided: no probability can be given"
    if verdict.decision == "undecided":
        sure = probability_text(verdict.probability)
        return f"Undecided: probability {sure} that {verdict.first_name} beats {verdict.second_name}"
    sure = probability_text(max(verdict.probability, 1 - verdict.probability))
    other = {verdict.first_name, verdict.second_name} - {verdict.decision}
    return f"{verdict.decision} beats {other.pop()}: probability {sure}"


def _verdict(one: Digest) -> Part:
    state = "undecided" if one.verdict.decision == "undecided" else "decided"
    lead = (
        f'<p class="verdict {state}">{escape(headline(one))}</p><p>{escape(one.verdict.sentence)}</p>'
        f'<ul class="findings">{"".join(_finding(finding, one.verdict) for finding in one.findings)}'
        f"{''.join(map(_at_equal_cost, one.at_equal_cost))}</ul>"
    )
    return Part("Verdict", lead=lead, tables=(thresholds_table(one, EMPTY),))


def _finding(finding: Finding, verdict: Verdict) -> str:
    """A statement of the paper and what the study says of it, without repeating the verdict above."""
    because = finding.sentence.removeprefix(finding.statement).strip()
    if isinstance(finding.evidence, Correlation):
        because = f"{finding.evidence.sentence[:1].upper()}{finding.evidence.sentence[1:]}"
    elif finding.evidence:
        because = "See above." if finding.evidence.sentence == verdict.sentence else finding.evidence.sentence
    return _item(finding.decision, finding.decision, finding.statement, because)


def _at_equal_cost(verdict: Verdict) -> str:
    """The comparison at equal steps or FLOPs: who is ahead, and the sentence."""
    state = "supported" if verdict.decision != "undecided" else "undecided"
    what = {"steps": "update steps", "flops": "training FLOPs"}[verdict.equal]
    return _item(state, verdict.decision, f"Exploratory: at equal {what}.", verdict.sentence)


def _item(state: str, decision: str, statement: str, because: str) -> str:
    head = f'<b class="{escape(state)}">{escape(decision)}</b> {escape(statement)}'
    return f"<li>{head}<br><small>{escape(because)}</small></li>"


def _ledger(one: Digest) -> Part:
    text = f"{len(one.rows)} runs, tuning included. Every one of them is in the data at the end of this page."
    return Part("Run ledger", (text,), tables=ledger(one.rows))
