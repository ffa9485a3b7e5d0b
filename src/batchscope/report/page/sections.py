"""The sections of one study: what each shows, and what it says where there is nothing to show."""

from __future__ import annotations

import math
from html import escape

from batchscope.analysis import Correlation, Finding, Verdict, sensitivity
from batchscope.analysis.digest import Digest
from batchscope.analysis.findings import correlate, diversities
from batchscope.analysis.formatting import probability_text
from batchscope.report.charts import sweeps as sweep_charts
from batchscope.report.charts import thresholds as threshold_charts
from batchscope.report.charts import training as training_charts
from batchscope.report.charts.heat_map import heat_map
from batchscope.report.charts.words import correlation_text
from batchscope.report.page.parts import Chart, Section, Table
from batchscope.report.page.records import ledger

EMPTY = "No final run has been recorded yet: run the study first, or to its end, and write this page again."


def sections(one: Digest) -> tuple[Section, ...]:
    """Return sections 1 to 8 of a study's report."""
    return (
        _verdict(one),
        _sweep(one),
        _shape_by_size(one),
        _within(one),
        _step_sizes(one),
        _diversity(one),
        _ledger(one),
        _sensitivity(one),
    )


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


def _verdict(one: Digest) -> Section:
    state = "undecided" if one.verdict.decision == "undecided" else "decided"
    first = (
        f'<p class="verdict {state}">{escape(headline(one))}</p><p>{escape(one.verdict.sentence)}</p>'
        f'<ul class="findings">{"".join(_finding(finding, one.verdict) for finding in one.findings)}'
        f"{''.join(map(_at_equal_cost, one.at_equal_cost))}</ul>"
    )
    lines = tuple(
        (
            shape,
            estimate.text,
            estimate.interval_text or "-",
            f"{estimate.n} at {estimate.num_batch_sizes} batch sizes",
            estimate.statement,
        )
        for shape, estimate in one.thresholds.items()
    )
    meaning = next((f"{e.definition}: {e.meaning}. 95 % bootstrap over seeds." for e in one.thresholds.values()), EMPTY)
    table = Table(("shape", "largest safe batch B*", "95 % interval", "n (runs)", "note"), lines, meaning)
    return Section(1, "Verdict", html_first=first, tables=(table,))


def _finding(finding: Finding, verdict: Verdict) -> str:
    """A statement of the paper and what the study says of it, without repeating the verdict above."""
    because = finding.sentence.removeprefix(finding.statement).strip()
    if isinstance(finding.evidence, Correlation):
        because = correlation_text(finding.evidence)
    elif finding.evidence:
        because = "See above." if finding.evidence.sentence == verdict.sentence else finding.evidence.sentence
    decision = escape(finding.decision)
    return (
        f'<li><b class="{decision}">{decision}</b> {escape(finding.statement)}<br><small>{escape(because)}</small></li>'
    )


def _at_equal_cost(verdict: Verdict) -> str:
    """The comparison at equal steps or FLOPs: who is ahead, and the sentence."""
    state = "supported" if verdict.decision != "undecided" else "undecided"
    what = {"steps": "update steps", "flops": "training FLOPs"}[verdict.equal]
    return (
        f'<li><b class="{state}">{escape(verdict.decision)}</b> At equal {what}.'
        f"<br><small>{escape(verdict.sentence)}</small></li>"
    )


def _sweep(one: Digest) -> Section:
    if not one.table:
        return Section(2, "Epochs and steps to target", (EMPTY,))
    charts = tuple(sweep_charts.against_batch_size(one, what) for what in ("epochs", "steps"))
    return Section(2, "Epochs and steps to target", charts=charts, tables=(sweep_charts.fit_table(one),))


def _shape_by_size(one: Digest) -> Section:
    title = "Shape by batch size"
    return Section(3, title, charts=(heat_map(one),)) if one.table else Section(3, title, (EMPTY,))


def _within(one: Digest) -> Section:
    title = "Largest batch within E epochs"
    if all(cell.never for cell in one.table):
        return Section(4, title, ("No run reached the target, so no number of epochs can be allowed.",))
    return Section(4, title, charts=(threshold_charts.within_epochs(one),))


def _step_sizes(one: Digest) -> Section:
    title = "Tuned step size"
    if not one.tuning.cells:
        return Section(5, title, (EMPTY,))
    text = f"{one.tuning.statement}."
    charts = (training_charts.step_sizes(one), *([threshold_charts.by_protocol(one)] if one.protocols else []))
    return Section(5, title, (text,), charts, (training_charts.slopes_table(one),))


def _diversity(one: Digest) -> Section:
    title = "Gradient diversity"
    bounds = diversities(one.sweeps)
    charts: list[Chart] = [training_charts.diversity_along_training(one)] if one.curves else []
    if any(not math.isnan(estimate.value) for estimate in bounds.values()):
        charts.append(threshold_charts.against_diversity(one, bounds, correlate(bounds, one.thresholds)))
    text = () if charts else ("It was not measured in these runs: set diversity_every in the study file.",)
    return Section(6, title, text, tuple(charts))


def _ledger(one: Digest) -> Section:
    text = f"{len(one.rows)} runs, tuning included. Every one of them is in section 10, the data."
    return Section(7, "Run ledger", (text,), tables=ledger(one.rows))


def _sensitivity(one: Digest) -> Section:
    title = "Residuals and sensitivity"
    if not one.sweeps:
        return Section(8, title, (EMPTY,))
    definitions = sensitivity.by_definition(one.sweeps)
    targets = sensitivity.by_target(one.rows, definition=one.definition, sweeps=one.sweeps)
    charts = [training_charts.residuals(one), threshold_charts.by_definition(one, definitions)]
    charts += [threshold_charts.by_target(one, targets)] if targets else []
    text = () if targets else ("The runs have no histories, so other targets cannot be asked of them.",)
    return Section(8, title, text, tuple(charts))
