"""The tables a terminal shows, with rich: epochs to target per shape and batch size, and the threshold per shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table
from rich.text import Text  # rich would take "[no bounds]" for markup

from batchscope.analysis import ProtocolEffect, ThresholdEstimate
from batchscope.analysis.cells import Cell, number
from batchscope.analysis.context import Context
from batchscope.analysis.formatting import probability_text

EPOCHS_MEANING = (
    "epochs: mean over seeds [95 % interval, Student t on a log scale]; ≥: some seeds ran out of epochs, the mean is "
    "a lower bound; >: no seed reached the target. B_S: batch-size bound n·diversity, mean along training."
)


def epochs_table(table: Sequence[Cell], about: Context) -> Table:
    """Return the tidy table: one line per shape and batch size."""
    result = Table(title=f"{about.study}: {about.subtitle}", title_justify="left")
    result.add_column("shape")
    for name in ("batch size", "step size", "epochs to target", "seeds' spread", "steps", "B_S"):
        result.add_column(name, justify="right")
    result.add_column("outcomes")
    for index, cell in enumerate(table):
        last = index + 1 == len(table) or table[index + 1].shape != cell.shape
        result.add_row(*map(Text, _words(cell)), end_section=last)
    return result


def _words(cell: Cell) -> tuple[str, ...]:
    spread = f"{number(cell.epochs.least)} - {number(cell.epochs.most)}" if cell.epochs and not cell.never else "-"
    return (
        cell.shape,
        str(cell.batch_size),
        "-" if cell.step_size is None else f"{cell.step_size:g}",
        cell.epochs_text,
        spread,
        cell.steps_text,
        number(cell.batch_size_bound.mean) if cell.batch_size_bound else "-",
        cell.outcomes,
    )


def thresholds_table(thresholds: Mapping[str, ThresholdEstimate]) -> Table:
    """Return one line per shape: its largest safe batch by one definition, with interval and n."""
    result = Table(title="Largest safe batch B*", title_justify="left")
    result.add_column("shape")
    for name in ("B*", "95 % interval", "runs"):
        result.add_column(name, justify="right")
    result.add_column("note")
    for shape, threshold in thresholds.items():
        words = (shape, threshold.text, threshold.interval_text or "-", str(threshold.n), threshold.statement)
        result.add_row(*map(Text, words))
    return result


def thresholds_meaning(thresholds: Mapping[str, ThresholdEstimate]) -> str:
    """Return the definition behind the table of thresholds."""
    for threshold in thresholds.values():
        return f"B* by {threshold.definition}: {threshold.meaning}; 95 % bootstrap over seeds."
    return "B*: no finished runs."


def protocols_table(effects: Mapping[str, ProtocolEffect]) -> Table:
    """Return one line per shape: its threshold under both protocols of tuning, their ratio, and the runs lost."""
    result = Table(title="B* under both protocols of tuning", title_justify="left")
    result.add_column("shape")
    for name in ("paper2018", "tuned", "paper2018 / tuned", "P(tuned larger)", "runs lost", "to the choice"):
        result.add_column(name, justify="right")
    for effect in effects.values():
        result.add_row(*map(Text, protocol_words(effect)))
    return result


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
