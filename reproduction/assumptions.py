"""Figure 3(b) under every combination of what the paper leaves open: which gives the epochs of its text?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from batchscope.analysis.cells import Cell, cells
from batchscope.studies import Study
from reproduction import variants  # noqa: F401  the page lists these first
from reproduction.evidence import (
    ASSUMPTIONS,
    FAILS,
    HOLDS,
    IN_3B,
    TEXT_3B,
    TWO_EPOCHS,
    Answer,
    claim,
    is_near_3b,
    results,
    typical,
    with_interval,
)
from reproduction.markdown import table

SIZES = (128, 4096)  # of those in the text


@dataclass(frozen=True)
class Combination:
    """words: optimizer, weights, inputs. cells: of ten layers, by batch size."""

    words: tuple[str, str, str]
    cells: dict[int, Cell]

    def off(self, size: int) -> float:
        """How far the epochs at this batch size are from those of the text, in logarithms."""
        low, high = map(math.log, TEXT_3B[size])
        found = math.log(typical(self.cells[size]))
        return max(low - found, found - high, 0.0)


def combinations() -> Iterator[Combination]:
    """All of them, as they were run."""
    found = results(ASSUMPTIONS)
    for study in found.studies:
        yield Combination(_words(study), {cell.batch_size: cell for cell in cells(found.of(study.name).rows)})


def _words(study: Study) -> tuple[str, str, str]:
    optimizer = {"sgd": "plain SGD", "adam": "Adam"}[study.optimizer] if not study.momentum else "momentum 0.9"
    weights = {"glorot_uniform": "Glorot-uniform", "he": "He"}[study.initialisation]
    return optimizer, weights, {"standardised": "standardised", "unit": "in [0, 1]"}[study.inputs]


def lines() -> list[str]:
    """Epochs of ten layers under every combination."""
    rows = [(*one.words, *(with_interval(one.cells[size]) for size in SIZES)) for one in combinations()]
    return table(("optimizer", "weights", "inputs", *(f"B = {size}" for size in SIZES)), rows)


@claim("3b, assumptions", IN_3B, ASSUMPTIONS)
def _assumptions() -> Answer:
    found = list(combinations())
    met = {size: [one for one in found if is_near_3b(one.cells[size])] for size in SIZES}
    both = [one for one in found if all(map(is_near_3b, one.cells.values()))]
    parts = []
    for size, near in met.items():
        best = min(found, key=lambda one: one.off(size))
        parts.append(
            f"B = {size}: as in the text under {len(near)} of {len(found)} combinations; the closest "
            f"{with_interval(best.cells[size])} ({', '.join(best.words)})"
        )
    return Answer(
        f"L = 10, {'; '.join(parts)}; both under {len(both)}",
        HOLDS if both else FAILS,
        "plain SGD, momentum or Adam, Glorot-uniform or He weights, inputs standardised or in [0, 1]; ReLU, "
        f"{TWO_EPOCHS}, 3 seeds",
    )
