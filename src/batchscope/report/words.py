"""The tables of a verdict in words, the same on the terminal and on the page: findings, epochs, other questions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from batchscope.analysis import Finding, Verdict
from batchscope.analysis.cells import Cell
from batchscope.analysis.digest import Digest
from batchscope.analysis.formatting import number, probability_text
from batchscope.analysis.log_times import OWN_ASSUMED
from batchscope.analysis.same_batch import EpochRatio, EpochRatios

FINDINGS_TITLE = "What this study says of the paper's findings"
FINDINGS_MEANING = (
    "P: that the statement holds; decided from 0.95 on, either way. Mixed: some comparisons certainly say the contrary."
    " F0, F1, F2, Figures 2(a) and 2(c) of Chen et al. 2018, in this order"
)
RATIOS_TITLE = "Epochs at the same batch size, wide against deep"
RATIOS_HEADS = ("batch size", "epochs, wide", "epochs, deep", "ratio", "P")
EXPLORATORY_TITLE = "Exploratory: the same runs, asked differently"
EXPLORATORY_HEADS = ("wide against deep", "wide", "deep", "P(wide better)", "decision")


def statistic(finding: Finding) -> str:
    """The statistic of a finding with its 95 % interval; "-" where there is nothing to look at."""
    return finding.evidence.short if finding.evidence else "-"


def ratios_meaning(ratios: EpochRatios) -> str:
    """What stands under the table of ratios."""
    own = "an error of each batch size of its own" if ratios.own_is_seen else OWN_ASSUMED
    return (
        f"ratio: epochs of deep over wide at that batch size [95 % interval: seeds, and {own}]; P: probability that "
        "wide needs fewer."
    )


def ratio_lines(one: Digest) -> list[tuple[str, ...]]:
    """The widest against the deepest shape, one line per common batch size."""
    cells = {(cell.shape, cell.batch_size): cell for cell in one.table}
    return [_ratio(ratio, cells) for ratio in one.epoch_ratios.ends]


def _ratio(ratio: EpochRatio, cells: Mapping[tuple[str, int], Cell]) -> tuple[str, ...]:
    both = (cells[shape, int(ratio.batch_size)].epochs_text for shape in (ratio.wider, ratio.deeper))
    return (number(ratio.batch_size), *both, ratio.text, probability_text(ratio.probability))


def exploratory_lines(verdicts: Iterable[Verdict]) -> list[tuple[str, ...]]:
    """One line per verdict that is not the headline's."""
    return [_exploratory(verdict) for verdict in verdicts]


def _exploratory(verdict: Verdict) -> tuple[str, ...]:
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
