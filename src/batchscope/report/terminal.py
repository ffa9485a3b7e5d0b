"""What a terminal shows of a study: the headline first, then tables that fit 100 columns. Drawn with rich."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence

from rich.table import Table

from batchscope.analysis import Finding, ProtocolEffect, ThresholdEstimate, Verdict
from batchscope.analysis.cells import EDGE_NOTE, EPOCHS_MEANING, Cell
from batchscope.analysis.digest import Digest
from batchscope.analysis.formatting import WIDTH, number, probability_text, rendered, text_table
from batchscope.analysis.same_batch import EpochRatio


def study_text(one: Digest) -> str:
    """Everything the terminal shows of one study, in 100 columns."""
    parts = [heading(one), filled(one.headline.sentence)]
    parts.append(part(findings_table(one.findings), FINDINGS_MEANING))
    if one.epoch_ratios.ends:
        parts.append(part(ratios_table(one), RATIOS_MEANING))
    edge = f" {EDGE_NOTE}." if any(cell.at_grid_edge for cell in one.table) else ""
    parts.append(part(epochs_table(one.table), MEANING + edge))
    parts.append(part(thresholds_table(one.thresholds), thresholds_meaning(one.thresholds)))
    parts.append(filled(f"Tuning: {one.tuning.statement}."))
    if one.protocols:
        parts.append(part(protocols_table(one.protocols), PROTOCOLS_MEANING))
    if one.exploratory:
        parts.append(part(exploratory_table(one.exploratory), exploratory_meaning(one.exploratory)))
    return "\n\n".join(parts)


def heading(one: Digest) -> str:
    """The study, its data and target, underlined."""
    text = filled(f"{one.about.study}: {one.about.subtitle}")
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
    lines = [
        (one.statement, one.decision, probability_text(one.probability), one.evidence.short if one.evidence else "-")
        for one in findings
    ]
    heads = ("finding", "decision", "P", "statistic [95 %]")
    return text_table(
        heads, lines, "What this study says of the paper's findings", left=("finding", "decision", "statistic [95 %]")
    )


FINDINGS_MEANING = (
    "P: that the statement holds; decided from 0.95 on, either way. F0, F1, F2, Figures 2(a) and 2(c) of Chen et al. "
    "2018, in this order; each in a sentence: --html, --json."
)
RATIOS_MEANING = (
    "ratio: epochs of deep over wide at that batch size [95 % interval: seeds, and an error of each batch size of its "
    "own]; P: probability that wide needs fewer."
)


def ratios_table(one: Digest) -> Table:
    """The widest against the deepest shape, one line per common batch size."""
    cells = {(cell.shape, cell.batch_size): cell for cell in one.table}
    lines = [(*_ratio_words(ratio, cells),) for ratio in one.epoch_ratios.ends]
    heads = ("batch size", "epochs, wide", "epochs, deep", "ratio", "P")
    return text_table(heads, lines, "Epochs at the same batch size, wide against deep", left=())


def _ratio_words(ratio: EpochRatio, cells: Mapping[tuple[str, int], Cell]) -> tuple[str, ...]:
    both = (cells[shape, int(ratio.batch_size)].epochs_text for shape in (ratio.wider, ratio.deeper))
    return (number(ratio.batch_size), *both, ratio.text, probability_text(ratio.probability))


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
    lines = [_exploratory_words(verdict) for verdict in verdicts]
    heads = ("wide against deep", "wide", "deep", "P(wide better)", "decision")
    return text_table(
        heads, lines, "Exploratory: the same runs, asked differently", left=("wide against deep", "decision")
    )


def _exploratory_words(verdict: Verdict) -> tuple[str, ...]:
    what = {"steps": "smallest batch, at equal steps", "flops": "largest batch, at equal FLOPs"}
    both = (f"{one.text} {one.interval_text}".strip() for one in (verdict.first, verdict.second))
    name = what.get(verdict.equal, verdict.first.definition)
    return (name, *both, probability_text(verdict.probability), verdict.decision)


def exploratory_meaning(verdicts: Sequence[Verdict]) -> str:
    """How many comparisons, and what that does to a decision."""
    count = len(verdicts)
    return (
        f"{count} comparisons besides the headline's; each is decided at 1 - 0.05/{count}, so that all together are as "
        "rarely wrong as one."
    )


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
