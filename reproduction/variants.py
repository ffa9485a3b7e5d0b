"""Claims under other assumptions than plain SGD: one function for each committed variant of a panel."""

from __future__ import annotations

from batchscope.analysis.same_batch import EpochRatios
from reproduction import motive  # noqa: F401  the page lists them first
from reproduction.evidence import ADAM, FAILS, HOLDS, IN_PART, Answer, cell_of, claim, epochs, found, typical

SAYS = "(3b under another optimizer) 2 to 3 epochs at L = 10 for B < 256, 50 at B = 4096; fewer at L = 1"
SIZES = (64, 256, 1024, 4096)


def of_panel_b(given: str, under: str) -> Answer:
    """Epochs of the ends of Figure 3(b), against the paper's numbers and its direction."""
    deep, wide = (", ".join(f"{epochs(given, depth, size)} at B = {size}" for size in SIZES) for depth in (10, 1))
    times = {depth: [typical(cell_of(given)[depth, size]) for size in SIZES] for depth in (1, 10)}
    near = 2 <= times[10][0] <= 3 and 40 <= times[10][-1] <= 60
    ordered = all(a < b for a, b in zip(times[1], times[10], strict=True))
    ratio = found(given)["F2"].evidence
    assert isinstance(ratio, EpochRatios)
    return Answer(
        f"L = 10: {deep}; L = 1: {wide}; epochs of the deeper over the wider of three shapes {ratio.short}",
        HOLDS if near and ordered else IN_PART if near or ordered else FAILS,
        f"{under}, standardised inputs, ReLU, Glorot-uniform, step size by the two-epoch rule"
        + "; the direction, not the numbers" * (ordered and not near),
    )


@claim("3b, Adam", SAYS, ADAM)
def _adam() -> Answer:
    return of_panel_b(ADAM, "Adam")
