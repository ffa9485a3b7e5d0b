"""The same study on two processors: float32 sums in another order, and what the two-epoch rule makes of them."""

from __future__ import annotations

from batchscope.records import Rows
from reproduction import easier_target  # noqa: F401  the page lists these first
from reproduction.evidence import (
    FAILS,
    HOLDS,
    LETTERS,
    LETTERS_AGAIN,
    SGD_LETTERS,
    Answer,
    cell_of,
    claim,
    epochs,
    results,
    with_interval,
)
from reproduction.markdown import table

BOTH = LETTERS_AGAIN, LETTERS
Setting = tuple[int, int]  # depth, batch size


def step_sizes(given: str) -> dict[Setting, float]:
    """(depth, batch size) -> the step size that tuning took."""
    finals = Rows.of(results(given).rows).where(phase="final")
    return {(row.depth, row.batch_size): row.step_size for row in finals}


def differing() -> list[Setting]:
    """Where the same tuning runs, of the same seeds, led to another step size."""
    first, second = step_sizes(LETTERS_AGAIN), step_sizes(LETTERS)
    return [at for at in first if first[at] != second[at]]


def lines() -> list[str]:
    """Step sizes and epochs of both, shape by shape."""
    first, second = step_sizes(LETTERS_AGAIN), step_sizes(LETTERS)
    heads = ("L", "B", *(f"{what}, {_machine(given)}" for what in ("step size", "epochs") for given in BOTH))
    return table(
        heads,
        [
            (
                str(depth),
                str(size),
                *(f"{of[depth, size]:g}" for of in (first, second)),
                *(with_interval(cell_of(given)[depth, size]) for given in BOTH),
            )
            for depth, size in first
        ],
    )


@claim(
    "6a, processor",
    "(ours) does the two-epoch rule take the same step sizes from the same seeds on another processor?",
    LETTERS_AGAIN,
)
def _processor() -> Answer:
    first, second, moved = step_sizes(LETTERS_AGAIN), step_sizes(LETTERS), differing()
    lines = "; ".join(
        f"L = {depth}, B = {size}: {first[depth, size]:g} and {second[depth, size]:g}, epochs "
        f"{epochs(LETTERS_AGAIN, depth, size)} and {epochs(LETTERS, depth, size)}"
        for depth, size in moved
    )
    return Answer(
        f"another at {len(moved)} of {len(first)} shapes and batch sizes" + (f": {lines}" if moved else ""),
        FAILS if moved else HOLDS,
        f"{_machine(LETTERS_AGAIN)} and {_machine(LETTERS)}; {SGD_LETTERS}; one tuning run of two epochs a step size, "
        f"as the paper has it; commits {_commit(LETTERS_AGAIN)} and {_commit(LETTERS)}, of the same arithmetic",
    )


def _commit(given: str) -> str:
    return str(results(given).runs[0]["commit"])


def _machine(given: str) -> str:
    return str(results(given).runs[0]["machine"])
