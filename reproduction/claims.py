"""What Chen et al. 2018 find in experiments, one function a claim: their words, what the rows say, and a verdict.

A claim looks at run directories in results/ (see evidence.py) and at the closed forms of theory/; it trains nothing.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from batchscope.analysis import batch_threshold
from batchscope.analysis.findings import correlate, diversities
from batchscope.analysis.formatting import grouped, number
from batchscope.analysis.intervals import CERTAIN
from reproduction import (
    lemma1,
    panel_c,
    theorems,  # noqa: F401  the page lists these first
)
from reproduction.evidence import (
    EMNIST,
    FAILS,
    HOLDS,
    IN_PART,
    LEMMA1,
    LINEAR,
    MNIST,
    SGD_MNIST,
    SYNTHETIC,
    Answer,
    at_the_start,
    batch_sizes,
    cell_of,
    claim,
    epochs,
    finding,
    results,
    share_of_wider_faster,
    typical,
)


@claim("F0", "every network has a batch size beyond which it needs more epochs (finding 1)", LINEAR)
def _f0() -> Answer:
    return finding("F0", LINEAR, SYNTHETIC)


@claim("F0, MNIST", "the same on MNIST", MNIST)
def _f0_mnist() -> Answer:
    return finding("F0", MNIST, SGD_MNIST)


@claim("F1", "that batch size is often larger for wider nets (finding 2)", LINEAR)
def _f1() -> Answer:
    return finding("F1", LINEAR, SYNTHETIC)


@claim("F1, MNIST", "the same on MNIST", MNIST)
def _f1_mnist() -> Answer:
    return finding("F1", MNIST, SGD_MNIST)


@claim("F2", "at the same large batch size almost all wider nets need much fewer epochs (finding 3)", LINEAR)
def _f2() -> Answer:
    return finding("F2", LINEAR, SYNTHETIC)


@claim("F2, MNIST", "the same on MNIST", MNIST)
def _f2_mnist() -> Answer:
    return finding("F2", MNIST, SGD_MNIST)


@claim("Fig 1", "MNIST, 96 %: epochs against batch size rise later and less for wider, shallower nets", MNIST)
def _figure1() -> Answer:
    rows = [f"B = {size}: {epochs(MNIST, 1, size)} against {epochs(MNIST, 10, size)}" for size in (32, 512, 4096)]
    wide, deep = ([typical(cell_of(MNIST)[depth, size]) for size in batch_sizes(MNIST)] for depth in (1, 10))
    verdict = HOLDS if all(a < b for a, b in zip(wide, deep, strict=True)) else IN_PART
    return Answer(f"epochs, L = 1, K = 21 against L = 10, K = 17: {'; '.join(rows)}", verdict, SGD_MNIST)


PANELS = {
    "a": "Fig 2",
    "b": "Fig 1, 3b",
    "c": "3c",
    "d": "3d, on a stand-in",
    "e": "3ef, LeNet",
    "f": "3ef, ResNet-18",
    "g": "3g",
    "h": "3h",
}


@claim("Fig 3a-h", "epochs to the target against batch size, eight panels")
def _figure3() -> Answer:
    lines = "; ".join(f"({panel}) {where}" for panel, where in PANELS.items())
    return Answer(
        f"line of this table: {lines}. A recipe each; (a), (b) whole, of the others what their lines say",
        IN_PART,
        "no GPU at hand for (f) to (h) at full size",
    )


@claim("Fig 2a", "linear nets, synthetic set: averaged gradient diversity grows with width", LINEAR)
def _figure2a() -> Answer:
    start, along = at_the_start(LINEAR), batch_threshold(results(LINEAR), "mean_diversity")
    falls = all(a > b for a, b in itertools.pairwise(start.values()))
    text = ", ".join(number(round(bound, 1)) for bound in start.values())
    ends, seeds = list(along.values()), results(LINEAR).study.num_seeds
    return Answer(
        f"B_S at the start, L = 1 to 10 (mean of {seeds} nets each): {text}. Runs of under ten epochs, most of those "
        f"at B <= 128, are measured there only. Averaged along all runs the order is lost ({ends[0].text} "
        f"{ends[0].interval_text} at L = 1, {ends[-1].text} {ends[-1].interval_text} at L = 10): B_S grows while a run "
        "lasts, and deep nets run longer",
        HOLDS if falls else IN_PART,
        f"{SYNTHETIC}; at the start",
    )


@claim("Fig 2b", "the largest batch that reaches 1e-12 within 14 epochs grows with width", LINEAR)
def _figure2b() -> Answer:
    largest = batch_threshold(results(LINEAR), "within_epochs(14)")
    values = [estimate.ordering for estimate in largest.values()]
    order = float(np.mean([a > b for i, a in enumerate(values) for b in values[i + 1 :]]))
    ends = list(largest.values())
    text = f"{ends[0].text} {ends[0].interval_text} (L = 1) to {ends[-1].text} {ends[-1].interval_text} (L = 10)"
    verdict = HOLDS if order > 0.9 else IN_PART if order > 0.5 else FAILS
    return Answer(
        f"{text}; the wider has the larger in {order:.0%} of pairs of shapes, n = {ends[0].n} a shape",
        verdict,
        SYNTHETIC,
    )


@claim("Fig 2c", "that largest batch grows with the gradient diversity", LINEAR)
def _figure2c() -> Answer:
    largest = batch_threshold(results(LINEAR), "within_epochs(14)")
    start = at_the_start(LINEAR)
    rank = float(stats.spearmanr(list(start.values()), [largest[shape].ordering for shape in start])[0])
    low = math.tanh(math.atanh(min(rank, 0.999)) - 1.96 * math.sqrt((1 + rank**2 / 2) / (len(start) - 3)))
    text = f"rank correlation with B_S at the start {rank:.2f}, at least {low:.2f}, over {len(start)} shapes"
    return Answer(text, HOLDS if low > 0 else "undecided", SYNTHETIC)


@claim("Fig 2, MNIST", "(ours) the same three statements on MNIST", MNIST)
def _figure2_mnist() -> Answer:
    mnist = results(MNIST)
    one = correlate(diversities(mnist), batch_threshold(mnist, "within_epochs(50)"))
    ends = list(diversities(mnist).values())
    start = ", ".join(number(round(bound)) for bound in at_the_start(MNIST).values())
    return Answer(
        f"B_S after the start, at equal epochs: {ends[0].text} {ends[0].interval_text} (L = 1), {ends[-1].text} "
        f"{ends[-1].interval_text} (L = 10); with the largest batch within 50 epochs: {one.short}; at the start the "
        f"order is the opposite: {start}",
        HOLDS if one.probability >= CERTAIN else "undecided",
        SGD_MNIST,
    )


@claim("3b-i", "MNIST, L = 10, K = 17: 2 to 3 epochs for B < 256, 50 at B = 4096", MNIST)
def _3b_i() -> Answer:
    sizes = "; ".join(f"B = {size}: {epochs(MNIST, 10, size)}" for size in (32, 128, 256, 4096))
    near = [2 <= typical(cell_of(MNIST)[10, 128]) <= 3, 40 <= typical(cell_of(MNIST)[10, 4096]) <= 60]
    verdict = HOLDS if all(near) else IN_PART if any(near) else FAILS
    return Answer(sizes, verdict, SGD_MNIST)


@claim("3b-ii", "MNIST: the threshold is 256 at L = 10 and 1024 at L = 1", MNIST)
def _3b_ii() -> Answer:
    ends = list(batch_threshold(results(MNIST), "b_crit").values())
    text = f"B_crit {ends[0].text} {ends[0].interval_text} at L = 1, {ends[-1].text} {ends[-1].interval_text} at L = 10"
    return Answer(text, HOLDS if ends[0].ordering > 2 * ends[-1].ordering else FAILS, SGD_MNIST)


@claim("3c", "EMNIST, B = 4096: epochs fall from 211 to 9 as K grows from 17 to 21", EMNIST)
def _3c() -> Answer:
    return panel_c.answer(EMNIST, f"{panel_c.THREE_PASSES}, plain SGD, step sizes by factors of 2")


@claim("Fig 4", "epochs of every structure as a heat map; more depth seldom helps", LINEAR)
def _figure4() -> Answer:
    parts, shares = [], []
    for recipe, name in ((LINEAR, "synthetic"), (MNIST, "MNIST")):
        wins, pairs = (
            sum(x) for x in zip(*(share_of_wider_faster(recipe, size) for size in batch_sizes(recipe)), strict=True)
        )
        shares.append(wins / pairs)
        parts.append(f"{name}: the wider needs fewer epochs in {grouped(wins)} of {grouped(pairs)} (pair, B)")
    return Answer("; ".join(parts), HOLDS if min(shares) > 0.8 else IN_PART, "means over seeds, ties left out")


@claim("Fig 5", "within a fixed number of epochs larger K allows much larger batches", MNIST)
def _figure5() -> Answer:
    parts, larger = [], []
    for limit in (20, 50):
        ends = list(batch_threshold(results(MNIST), f"within_epochs({limit})").values())
        parts.append(
            f"within {limit} epochs {ends[0].text} {ends[0].interval_text} (L = 1) against {ends[-1].text} "
            f"{ends[-1].interval_text} (L = 10)"
        )
        larger.append(ends[0].ordering > ends[-1].ordering)
    return Answer("; ".join(parts), HOLDS if all(larger) else FAILS, SGD_MNIST)


@claim("Tab 1", "data sets, sizes, parameters and targets")
def _table1() -> Answer:
    return Answer(
        "`batchscope recipes` prints it with our counts", HOLDS, "Gisette and EMNIST Balanced: stand-ins, named"
    )


@claim(
    "L1",
    "same step size for the sum: (1 + δ/2)-suboptimal after as many gradient updates if B <= δ n Δ_S + 1 (Lemma 1)",
    LEMMA1,
)
def _l1() -> Answer:
    found = lemma1.committed()
    within = [line for line in found if line.delta <= 1]
    broken, beyond = [line for line in within if line.broken], [line for line in found if line.delta > 1]
    worst = "; ".join(
        f"{line.problem}, L = {line.depth}, γ = {line.sum_step_size:g}, B = {line.batch_size}: {number(line.ratio)} "
        f"times the serial loss, at least {number(line.low)}, {number(line.promise)} promised"
        for line in broken
    )
    return Answer(
        f"kept at every one of 20 passes in {len(within) - len(broken)} of {len(within)} (net, γ, B) with δ <= 1, "
        f"broken in {len(broken)} ({worst}); with δ > 1 broken in {sum(line.broken for line in beyond)} of "
        f"{len(beyond)}. Largest B that keeps it, L = 1 and L = 6: {_kept(found)} (n = {found[0].n} seeds)",
        HOLDS if not broken else IN_PART if len(broken) < 0.1 * len(within) else FAILS,
        "δ from the least n Δ_S of the runs; linear and ReLU nets of 3000 weights, 1000 examples, labels with noise "
        "and without",
    )


def _kept(found: Sequence[lemma1.Line]) -> str:
    """Of each problem and step size, the largest batch size up to which both nets are as promised."""
    parts = []
    for problem, gamma in dict.fromkeys((line.problem, line.sum_step_size) for line in found):
        ours = [line for line in found if (line.problem, line.sum_step_size) == (problem, gamma)]
        wide, deep = (lemma1.largest_kept([line for line in ours if line.depth == depth]) for depth in (1, 6))
        parts.append(f"{problem} at γ = {gamma:g}: {wide}, {deep}")
    return "; ".join(parts)
