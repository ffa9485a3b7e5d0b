"""What a terminal shows of a study: the headline first, then tables that fit 100 columns. Drawn with rich."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence

from rich.table import Table

from batchscope.analysis import Finding, ProtocolEffect, ThresholdEstimate, Verdict
from batchscope.analysis.cells import EDGE_NOTE, EPOCHS_MEANING, Cell
from batchscope.analysis.digest import Digest
from batchscope.analysis.formatting import WIDTH, number, probability_text, rendered, text_table
from batchscope.report import words


def study_text(one: Digest) -> str:
    """Everything the terminal shows of one study, in 100 columns."""
    parts = [heading(one), filled(one.headline.sentence)]
    if not one.table:
        return "\n\n".join(parts)
    parts.append(part(findings_table(one.findings), f"{words.FINDINGS_MEANING}; each in a sentence: --html, --json."))
    if one.epoch_ratios.ends:
        parts.append(part(ratios_table(one), words.ratios_meaning(one.epoch_ratios)))
    edge = f" {EDGE_NOTE}." if any(cell.at_grid_edge for cell in one.table) else ""
    parts.append(part(epochs_table(one.table), MEANING + edge))
    parts.append(part(thresholds_table(one.thresholds), thresholds_meaning(one.thresholds)))
    parts.append(filled(f"Tuning: {one.tuning.statement}."))
    if one.protocols:
        parts.append(part(protocols_table(one.protocols), PROTOCOLS_MEANING))
    if one.exploratory:
        parts.append(part(exploratory_table(one.exploratory), words.exploratory_meaning(one.exploratory)))
    return "\n\n".join(parts)


def brief_text(one: Digest) -> str:
    """The study and its headline."""
    return f"{heading(one)}\n{filled(one.headline.sentence)}"


def heading(one: Digest) -> str:
    """The study, its data and target, underlined."""
    text = filled(f"{one.about.study}: {one.about.subtitle}" if len(one.rows) else "No runs")
    return f"{text}\n{'=' * max(map(len, text.splitlines()))}"


def filled(text: str) -> str:
    """A paragraph of at most 100 columns."""
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def part(table: Table, meaning: str) -> str:
    """A table and what its numbers mean."""
    return f"{rendered(table)}\n{filled(meaning)}"


MEANING = f"{EPOCHS_MEANING} seeds: fewest and most. B_S: batch-size bound n·diversity, mean along training."


def epochs_table(table: Sequence[Cell]) -> Table:
    """One line per shape and batch size."""
    heads = ("shape", "batch size", "step size", "epochs to target", "seeds", "steps", "B_S", "outcomes")
    lines = [(*cell.words[:-1], _bound(cell), cell.outcomes) for cell in table]
    return text_table(heads, lines, "Epochs to the target", left=("shape", "outcomes"))


def _bound(cell: Cell) -> str:
    return number(cell.batch_size_bound.value) if cell.batch_size_bound else "-"


def findings_table(findings: Iterable[Finding]) -> Table:
    """One line per finding: its statement, the decision, the probability and the statistic with its interval."""
    lines = [(one.statement, one.decision, probability_text(one.probability), words.statistic(one)) for one in findings]
    heads = ("finding", "decision", "P", "statistic [95 %]")
    return text_table(heads, lines, words.FINDINGS_TITLE, left=("finding", "decision", "statistic [95 %]"))


def ratios_table(one: Digest) -> Table:
    """The widest against the deepest shape, one line per common batch size."""
    return text_table(words.RATIOS_HEADS, words.ratio_lines(one), words.RATIOS_TITLE, left=())


def thresholds_table(thresholds: Mapping[str, ThresholdEstimate]) -> Table:
    """One line per shape: its threshold by one definition, with interval and n."""
    lines = [
        (shape, threshold.text, threshold.interval_text or "-", str(threshold.n), threshold.statement)
        for shape, threshold in thresholds.items()
    ]
    heads = ("shape", "B*", "95 % interval", "runs", "note")
    return text_table(heads, lines, "Batch size beyond which a shape slows down, B*", left=("shape", "note"))


def thresholds_meaning(thresholds: Mapping[str, ThresholdEstimate]) -> str:
    """The definition behind the table of thresholds."""
    for threshold in thresholds.values():
        return f"B* by {threshold.definition}: {threshold.meaning}; 95 % bootstrap."
    return "B*: no finished runs."


def exploratory_table(verdicts: Iterable[Verdict]) -> Table:
    """One line per verdict that is not the headline's."""
    lines, left = words.exploratory_lines(verdicts), ("wide against deep", "decision")
    return text_table(words.EXPLORATORY_HEADS, lines, words.EXPLORATORY_TITLE, left=left)


def protocols_table(effects: Mapping[str, ProtocolEffect]) -> Table:
    """One line per shape: its threshold under both protocols of tuning, their ratio, and the runs lost."""
    heads = ("shape", "paper2018", "tuned", "ratio", "P(tuned larger)", "lost", "to the choice")
    return text_table(heads, map(protocol_words, effects.values()), "B* under both protocols of tuning")


def protocol_words(effect: ProtocolEffect) -> tuple[str, ...]:
    """The cells of one shape's line: B* [95 %] under both, the ratio [95 %], the probability, counts of runs."""
    return (
        effect.shape,
        f"{effect.paper.text} {effect.paper.interval_text}".strip(),
        f"{effect.tuned.text} {effect.tuned.interval_text}".strip(),
        effect.ratio_text or "-",
        probability_text(effect.probability),
        f"{effect.num_lost} of {effect.paper.n}",
        str(effect.num_lost_to_choice),
    )


PROTOCOLS_MEANING = (
    "paper2018: step size chosen after two epochs; tuned: on epochs to target. B* and ratio paper2018 / tuned with "
    "95 % bootstrap intervals over seeds, at the batch sizes both ran. Lost: final runs under paper2018 that never met "
    "the target, of its n; to the choice: those at batch sizes where at least half of the tuned runs met it."
)
