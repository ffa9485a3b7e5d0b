"""What the claims are answered from: the committed rows, their cells and findings, and the register of claims."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from batchscope.analysis import sweeps_of
from batchscope.analysis.cells import Cell, cells
from batchscope.analysis.findings import Finding, findings
from batchscope.analysis.formatting import probability_text
from batchscope.analysis.intervals import CERTAIN
from batchscope.analysis.same_batch import EpochRatios
from batchscope.analysis.verdict import UNDECIDED
from batchscope.records import Rows
from batchscope.studies import Results, read
from batchscope.studies.results import STUDY_FILE

RESULTS = Path(__file__).parent.parent / "results"
MNIST, LINEAR, LEMMA1 = "chen2018/figure2-mnist", "chen2018/figure2", "yin2018/lemma1"
FIGURE1 = "chen2018/figure1"
EMNIST = "chen2018/figure3c --variant three_passes+running+ends"
EMNIST_WHOLE = "chen2018/figure3c --variant three_passes+running"
EMNIST_WHOLE_TUNED = "chen2018/figure3c --variant three_passes+running+raced"
EMNIST_GRID = "chen2018/figure3c --variant three_passes+running+other_grid+at4096"
EMNIST_TUNED = "chen2018/figure3c --variant three_passes+running+tuned+at4096"
EMNIST_ADAM = "chen2018/figure3c --variant three_passes+running+adam+coarse"
EMNIST_MOMENTUM = "chen2018/figure3c --variant three_passes+running+momentum+coarse"
LETTERS = "chen2018/figure3c-letters --variant running"
LETTERS_TUNED = "chen2018/figure3c-letters --variant running+raced"
LETTERS_FINE = "chen2018/figure3c-letters --variant fine+sparse"  # checked twenty times an epoch
LETTERS_AGAIN = "chen2018/figure3c-letters --variant running+coarse"  # on another processor
GISETTE_LIKE = "chen2018/figure3d-like"
GISETTE_LIKE_TUNED = "chen2018/figure3d-like --variant raced"
ADAM = "chen2018/figure3b --variant adam+coarse"
MOMENTUM = "chen2018/figure3b --variant momentum+coarse"
MNIST_TUNED = "chen2018/figure3b --variant raced"
LENET, LENET_SMALL = "chen2018/figure3e --variant coarse", "chen2018/figure3e-small"
RESNET18_HEAD, RESNET18_BLOCKS = "chen2018/figure3f-small", "chen2018/figure3g-small"
RESNET34_BLOCKS = "chen2018/figure3h-small"
RESNET18_HEAD_NIGHT, RESNET18_BLOCKS_NIGHT = "chen2018/figure3f-night", "chen2018/figure3g-night"
RESNET34_BLOCKS_NIGHT = "chen2018/figure3h-night"
RESNET18_BLOCKS_TUNED = f"{RESNET18_BLOCKS_NIGHT} --variant raced+at256"
LINEAR_TUNED = "chen2018/figure2 --variant raced"
ASSUMPTIONS = "beyond/assumptions"
RULES, WEIGHTS, CHANGES = "beyond/rules", "beyond/initialisations", "beyond/changes"
CONSTANT_WIDTH, CONSTANT_DEPTH = "beyond/constant-width", "beyond/constant-depth"
# What `batchscope run` is given -> run directory in results/. Figure 3(a) is in the runs of Figure 2, Figure
# 3(b) in those on MNIST.
DECLARED = {
    FIGURE1: "figure1",
    LINEAR: "figure2",
    LINEAR_TUNED: "figure2-raced",
    MNIST: "figure2-mnist",
    ADAM: "figure3b-adam",
    MOMENTUM: "figure3b-momentum",
    MNIST_TUNED: "figure3b-raced",
    EMNIST: "figure3c-ends",
    EMNIST_WHOLE: "figure3c",
    EMNIST_WHOLE_TUNED: "figure3c-raced",
    EMNIST_GRID: "figure3c-grid",
    EMNIST_TUNED: "figure3c-tuned",
    EMNIST_ADAM: "figure3c-adam",
    EMNIST_MOMENTUM: "figure3c-momentum",
    LETTERS: "figure3c-letters",
    LETTERS_TUNED: "figure3c-letters-raced",
    LETTERS_FINE: "figure3c-letters-fine",
    LETTERS_AGAIN: "figure3c-letters-coarse",
    GISETTE_LIKE: "figure3d-like",
    GISETTE_LIKE_TUNED: "figure3d-like-raced",
    LENET: "figure3e-coarse",
    LENET_SMALL: "figure3e-small",
    RESNET18_HEAD: "figure3f-small",
    RESNET18_BLOCKS: "figure3g-small",
    RESNET34_BLOCKS: "figure3h-small",
    RESNET18_HEAD_NIGHT: "figure3f-night",
    RESNET18_BLOCKS_NIGHT: "figure3g-night",
    RESNET34_BLOCKS_NIGHT: "figure3h-night",
    RESNET18_BLOCKS_TUNED: "figure3g-at256",
    LEMMA1: "lemma1",
    ASSUMPTIONS: "beyond-assumptions",
    RULES: "beyond-rules",
    WEIGHTS: "beyond-initialisations",
    CONSTANT_WIDTH: "beyond-constant-width",
    CONSTANT_DEPTH: "beyond-constant-depth",
    CHANGES: "beyond-changes",
}


def is_whole(directory: Path) -> bool:
    """Whether every reported run of its studies is there: what was interrupted answers nothing yet."""
    if not (directory / STUDY_FILE).is_file():
        return False
    found = read(directory)
    return all(
        len(Rows.of(found.of(study.name).rows).where(phase="final"))
        == len(study.depths or study.shapes or ()) * len(study.batch_sizes) * study.num_seeds
        for study in found.studies
    )


# Of these, what has been run: a claim that needs another is "not tested" until all its rows are there.
RUNS = {given: directory for given, directory in DECLARED.items() if is_whole(RESULTS / directory)}

HOLDS, IN_PART, FAILS, NOT_TESTED = "holds", "holds in part", "does not hold", "not tested"
OF_DECISION = {"supported": HOLDS, "contradicted": FAILS, UNDECIDED: UNDECIDED}
# The text of Figure 3(b): batch size -> epochs of ten layers, from and to.
TEXT_3B = {32: (2.0, 3.0), 64: (2.0, 3.0), 128: (2.0, 3.0), 4096: (50.0, 50.0)}
IN_3B = "(3b under other assumptions) 2 to 3 epochs at L = 10 for B < 256, 50 at B = 4096"
NEAR = 1.5  # times, either way: so far from a number of the text ours may be
TWO_EPOCHS, TUNED = "step size by the two-epoch rule", "step size tuned on epochs to the target"
SGD_MNIST = f"plain SGD, standardised inputs, ReLU, Glorot-uniform, {TWO_EPOCHS}"
SGD_EMNIST = (
    "EMNIST-47 (reduced) to 65 % running over an epoch, three passes counted as an epoch, at most 250 epochs, "
    f"{SGD_MNIST}"
)
SGD_LETTERS = f"EMNIST Letters (26 classes) to 65 % running over an epoch, at most 100 epochs, {SGD_MNIST}"
SGD_LETTERS_FINE = (
    f"EMNIST Letters (26 classes) to 65 %, checked twenty times an epoch, four batch sizes, 3 seeds, {SGD_MNIST}"
)
SGD_GISETTE_LIKE = f"`gisette_like`, generated, in place of Gisette, at most 100 epochs, {SGD_MNIST}"
SYNTHETIC = f"synthetic set, linear nets, plain SGD, Glorot-uniform, {TWO_EPOCHS}"


@dataclass(frozen=True)
class Grid:
    """A panel run whole: ten depths, eight batch sizes, five seeds. data: in short. under: what its runs assume."""

    data: str
    under: str


GRIDS = {
    LINEAR: Grid("synthetic", SYNTHETIC),
    MNIST: Grid("MNIST", SGD_MNIST),
    EMNIST_WHOLE: Grid("EMNIST-47", SGD_EMNIST),
    LETTERS: Grid("EMNIST Letters", SGD_LETTERS),
    GISETTE_LIKE: Grid("`gisette_like`", SGD_GISETTE_LIKE),
}
# Panels of which the same cells were run with tuned step sizes, too.
TUNED_OF = {
    LINEAR: LINEAR_TUNED,
    MNIST: MNIST_TUNED,
    EMNIST_WHOLE: EMNIST_WHOLE_TUNED,
    LETTERS: LETTERS_TUNED,
    GISETTE_LIKE: GISETTE_LIKE_TUNED,
}
GRIDS |= {
    tuned: Grid(f"{GRIDS[given].data}, tuned", GRIDS[given].under.replace(TWO_EPOCHS, TUNED))
    for given, tuned in TUNED_OF.items()
}


@dataclass(frozen=True)
class Answer:
    """ours: with interval and n. verdict: one of the five words. under: the assumptions under which it was seen."""

    ours: str
    verdict: str
    under: str = ""


@dataclass(frozen=True)
class Claim:
    """id: as in the page. paper: what it says, in short and in our words. recipe: what to run to see it again."""

    id: str
    paper: str
    answer: Callable[[], Answer]
    recipe: str = ""


CLAIMS: list[Claim] = []


def claim(id: str, paper: str, recipe: str = "") -> Callable[[Callable[[], Answer]], Callable[[], Answer]]:  # noqa: A002
    """Register a function as the answer to a claim; the page lists them in the order of this file."""

    def register(answer: Callable[[], Answer]) -> Callable[[], Answer]:
        CLAIMS.append(Claim(id, paper, functools.cache(answer) if is_run(recipe) else not_run, recipe))
        return answer

    return register


def is_run(recipe: str) -> bool:
    """Whether its rows are committed, or it has none to commit."""
    return recipe in RUNS or recipe not in DECLARED


def runs_of(grids: Mapping[str, Grid]) -> list[tuple[str, Grid]]:
    """Those whose rows are committed."""
    return [(given, grid) for given, grid in grids.items() if is_run(given)]


NOT_WHOLE = "declared, and not yet run whole"


def not_run() -> Answer:
    """The answer to a claim whose runs are declared and have not been made."""
    return Answer(NOT_WHOLE, NOT_TESTED)


@functools.cache
def results(recipe: str) -> Results:
    """The committed rows of a recipe."""
    return read(RESULTS / RUNS[recipe])


@functools.cache
def found(recipe: str) -> dict[str, Finding]:
    """Name -> finding over the final runs of a recipe."""
    return {one.name: one for one in findings(results(recipe))}


@functools.cache
def cell_of(recipe: str) -> dict[tuple[int, int], Cell]:
    """(depth, batch size) -> cell."""
    return {(cell.depth, cell.batch_size): cell for cell in cells(results(recipe).rows)}


def verdict_of(one: Finding) -> str:
    """That of its decision; in part where the mean over all comparisons says one thing and some certainly the other."""
    ratio = one.evidence
    if isinstance(ratio, EpochRatios) and ratio.is_mixed and decided(ratio.probability) != UNDECIDED:
        return IN_PART
    return OF_DECISION[one.decision]


def finding(name: str, recipe: str, under: str) -> Answer:
    one = found(recipe)[name]
    return Answer(one.sentence.partition(". ")[2] or one.sentence, verdict_of(one), under)


def ratios_of(one: Finding) -> EpochRatios:
    """What F2 rests on: epochs of the deeper over the wider at the same batch size."""
    assert isinstance(one.evidence, EpochRatios)
    return one.evidence


def times_as_many(one: Finding) -> str:
    """Of F2: ``3.7 [3.33, 4.12] times, 30 of 30, above 1 with probability > 0.999``."""
    ratio = ratios_of(one)
    sure = ratio.probability
    # A number just short of what decides is not rounded to it.
    digits = 3 if decided(sure) != decided(round(sure, 2)) else 2
    certain = f", certainly so in {ratio.num_certain} and below 1 in {ratio.num_against}" if ratio.is_mixed else ""
    return f"{ratio.short}, above 1 with probability {probability_text(sure, digits)}{certain}"


def deeper_over_wider(one: Finding) -> str:
    """Of F2, named in full."""
    return f"epochs of the deeper over the wider {times_as_many(one)}"


def decided(probability: float) -> str:
    """The verdict on a statement of such a probability, the same either way."""
    return HOLDS if probability >= CERTAIN else FAILS if probability <= 1 - CERTAIN else UNDECIDED


def opposite(verdict: str) -> str:
    """That on the contrary of a statement; one that decides neither way decides neither way."""
    return {HOLDS: FAILS, FAILS: HOLDS}.get(verdict, verdict)


def together(verdicts: Iterable[str]) -> str:
    """The verdict on a statement of several parts: that of all, or in part where some hold and some do not."""
    found = set(verdicts)
    if len(found) == 1:
        return found.pop()
    return IN_PART if HOLDS in found else FAILS if FAILS in found else UNDECIDED


def is_near(found: float, low: float, high: float) -> bool:
    """Whether epochs of ours are those of the text, from low to high, to within a factor of NEAR."""
    return low / NEAR <= found <= high * NEAR


def is_near_3b(cell: Cell) -> bool:
    """Whether the epochs of a cell of ten layers are those of the text of Figure 3(b), which has its batch size."""
    return is_near(typical(cell), *TEXT_3B[cell.batch_size])


def means(recipe: str) -> dict[tuple[int, int], float]:
    """(depth, batch size) -> mean epochs over seeds, as the paper averages; infinite where one did not arrive."""
    finals = Rows.of(results(recipe).rows).where(phase="final").group_by("depth", "batch_size")
    times = {
        key: [math.inf if row.epochs_to_target is None else row.epochs_to_target for row in finals[key]]
        for key in finals
    }
    return {key: sum(found) / len(found) for key, found in times.items()}


def share_of_wider_faster(recipe: str, batch_size: int) -> tuple[int, int]:
    """Pairs of shapes at a batch size, and how many of them the wider wins by its mean epochs; ties do not count."""
    at = {depth: mean for (depth, size), mean in means(recipe).items() if size == batch_size}
    pairs = [(at[a], at[b]) for a in at for b in at if a < b and at[a] != at[b]]
    return sum(wide < deep for wide, deep in pairs), len(pairs)


def typical(cell: Cell) -> float:
    """Median epochs, infinite where not all runs arrived."""
    return cell.epochs.value if cell.epochs is not None and cell.reached == cell.num_seeds else math.inf


def with_interval(cell: Cell) -> str:
    """``12 [10, 14.4]``, and how many arrived where some did and others did not."""
    return cell.epochs_text + ("" if cell.reached in (0, cell.num_seeds) else f" ({cell.reached} of {cell.num_seeds})")


def ends_of(recipe: str) -> Finding:
    """Whether the deepest net needs more epochs than the widest at the same batch size."""
    depths = [depth for depth, _ in cell_of(recipe)]
    rows = Rows.of(results(recipe).rows).where(depth=(min(depths), max(depths)))
    return next(one for one in findings(rows) if one.name == "F2")


@functools.cache
def at_the_start(recipe: str) -> dict[str, float]:
    """Shape, wide to deep -> mean B_S of its initial nets, one a seed."""
    smallest = min(batch_sizes(recipe))
    bounds: dict[str, list[float]] = {}
    for row in results(recipe).rows:
        if row.phase == "final" and row.batch_size == smallest and row.history[0].batch_size_bound is not None:
            bounds.setdefault(row.shape, []).append(row.history[0].batch_size_bound)
    return {shape: float(np.mean(bounds[shape])) for shape in sweeps_of(results(recipe))}


def epochs(recipe: str, depth: int, batch_size: int) -> str:
    cell = cell_of(recipe)[depth, batch_size]
    lost = cell.reached not in (0, cell.num_seeds)
    return f"{cell.epochs_text} ({f'{cell.reached} of {cell.num_seeds} arrived' if lost else f'n = {cell.num_seeds}'})"


def batch_sizes(recipe: str) -> list[int]:
    return sorted({size for _, size in cell_of(recipe)})
