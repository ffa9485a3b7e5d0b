"""The tables a terminal shows, with rich: epochs to target per shape and batch size, and the threshold per shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table

from batchscope.analysis import ProtocolEffect, ThresholdEstimate
from batchscope.analysis.cells import EPOCHS_MEANING, Cell
from batchscope.analysis.context import Context
from batchscope.analysis.formatting import number, probability_text, text_table

MEANING = f"{EPOCHS_MEANING} seeds: fewest and most. B_S: batch-size bound n·diversity, mean along training."


def epochs_table(table: Sequence[Cell], about: Context) -> Table:
    """Return the tidy table: one line per shape and batch size."""
    heads = ("shape", "batch size", "step size", "epochs to target", "seeds", "steps", "B_S", "outcomes")
    lines = [(*cell.words[:-1], _bound(cell), cell.outcomes) for cell in table]
    return text_table(heads, lines, f"{about.study}: {about.subtitle}", left=("shape", "outcomes"))


def _bound(cell: Cell) -> str:
    return number(cell.batch_size_bound.value) if cell.batch_size_bound else "-"


def thresholds_table(thresholds: Mapping[str, ThresholdEstimate]) -> Table:
    """Return one line per shape: its largest safe batch by one definition, with interval and n."""
    lines = [
        (shape, threshold.text, threshold.interval_text or "-", str(threshold.n), threshold.statement)
        for shape, threshold in thresholds.items()
    ]
    heads = ("shape", "B*", "95 % interval", "runs", "note")
    return text_table(heads, lines, "Largest safe batch B*", left=("shape", "note"))


def thresholds_meaning(thresholds: Mapping[str, ThresholdEstimate]) -> str:
    """Return the definition behind the table of thresholds."""
    for threshold in thresholds.values():
        return f"B* by {threshold.definition}: {threshold.meaning}; 95 % bootstrap over seeds."
    return "B*: no finished runs."


def protocols_table(effects: Mapping[str, ProtocolEffect]) -> Table:
    """Return one line per shape: its threshold under both protocols of tuning, their ratio, and the runs lost."""
    heads = ("shape", "paper2018", "tuned", "paper2018 / tuned", "P(tuned larger)", "runs lost", "to the choice")
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
    "paper2018: step size chosen after two epochs; tuned: on epochs to target. B* and ratio with 95 % bootstrap "
    "intervals over seeds, at the batch sizes both ran. Runs lost: final runs under paper2018 that never met the "
    "target, of its n; to the choice: those at batch sizes where at least half of the tuned runs met it."
)
