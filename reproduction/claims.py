"""What Chen et al. 2018 find in experiments, one function a claim: their words, what the rows say, and a verdict.

A claim looks at run directories in results/ (see evidence.py) and at the closed forms of theory/; it trains nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from batchscope.analysis import batch_threshold, compare, sweeps_of
from batchscope.analysis.findings import correlate, diversities
from batchscope.analysis.formatting import grouped, number, probability_text
from batchscope.analysis.threshold_estimate import ThresholdEstimate
from batchscope.analysis.trend import trend
from batchscope.analysis.verdict import UNDECIDED
from batchscope.recipes.chen2018 import table1
from reproduction import (
    lemma1,
    panel_c,
    theorems,  # noqa: F401  the page lists these first
)
from reproduction.evidence import (
    CLAIMS,
    EMNIST,
    FAILS,
    FIGURE1,
    GRIDS,
    HOLDS,
    IN_PART,
    LEMMA1,
    LETTERS,
    LETTERS_FINE,
    LETTERS_TUNED,
    LINEAR,
    LINEAR_TUNED,
    MNIST,
    NOT_TESTED,
    SGD_LETTERS_FINE,
    SGD_MNIST,
    TEXT_3B,
    Answer,
    Grid,
    at_the_start,
    batch_sizes,
    cell_of,
    claim,
    decided,
    deeper_over_wider,
    epochs,
    finding,
    found,
    is_near,
    is_near_3b,
    results,
    runs_of,
    share_of_wider_faster,
    together,
    typical,
    verdict_of,
    with_interval,
)
from reproduction.ranks import Ranked, averaged, ranked

# Finding -> what the paper says; on the data of Figure 2 first, then of every panel that was run whole.
FINDINGS = {
    "F0": "for every network (the text: nearly every) more epochs are needed beyond some batch size (finding 1)",
    "F1": "that batch size is often larger for wider nets (finding 2)",
    "F2": "at one large batch size nearly every wider net gets there in far fewer epochs (finding 3)",
}
for _name, _paper in FINDINGS.items():
    for _given, _grid in GRIDS.items():
        _other = _given != LINEAR
        claim(f"{_name}, {_grid.data}" if _other else _name, f"the same on {_grid.data}" if _other else _paper, _given)(
            partial(finding, _name, _given, _grid.under)
        )
for _name in ("F1", "F2"):
    claim(
        f"{_name}, Letters, fine",
        f"(ours) {_name}, EMNIST Letters, where the target is checked twenty times an epoch and not once",
        LETTERS_FINE,
    )(partial(finding, _name, LETTERS_FINE, SGD_LETTERS_FINE))


@claim("Fig 1", "MNIST, 96 %, ReLU: wider, shallower nets need fewer epochs than narrower, deeper ones", FIGURE1)
def _figure1() -> Answer:
    at = cell_of(FIGURE1)
    depths = sorted({depth for depth, _ in at})
    rows = (
        f"B = {size}: {', '.join(with_interval(at[depth, size]) for depth in depths)}" for size in batch_sizes(FIGURE1)
    )
    first = sum(
        typical(at[1, size]) == min(typical(at[depth, size]) for depth in depths) for size in batch_sizes(FIGURE1)
    )
    one = found(FIGURE1)["F2"]
    return Answer(
        f"epochs at L = {', '.join(map(str, depths))}: {'; '.join(rows)}; {deeper_over_wider(one)}. "
        f"The widest is the fastest at {first} of {len(batch_sizes(FIGURE1))} batch sizes",
        verdict_of(one),
        f"{SGD_MNIST}, at most 250 epochs; the figure's depths are not in the text",
    )


# Panel -> the lines that answer it, the largest form first; the first that was run counts.
PANELS = {
    "a": ("F2",),
    "b": ("F2, MNIST",),
    "c": ("F2, EMNIST-47",),
    "d": ("3d, stand-in",),
    "e": ("3ef, LeNet",),
    "f": ("3ef, ResNet-18, a night", "3ef, ResNet-18"),
    "g": ("3g, a night", "3g"),
    "h": ("3h, a night", "3h"),
}


@claim("Fig 3a-h", "epochs to the target against batch size, eight panels: the wider needs fewer")
def _figure3() -> Answer:
    verdict_on = {one.id: one.answer().verdict for one in CLAIMS if one.id in itertools.chain(*PANELS.values())}
    told = {
        panel: next((line for line in lines if verdict_on[line] != NOT_TESTED), lines[-1])
        for panel, lines in PANELS.items()
    }
    words = "; ".join(f"({panel}) {verdict_on[line]}: {line}" for panel, line in told.items())
    return Answer(
        f"by the lines of this table {words}. A recipe each; run whole (ten depths, eight batch sizes, five seeds): "
        f"{', '.join(grid.data for _, grid in runs_of(GRIDS))}; of the others what their lines say",
        together(verdict_on[line] for line in told.values()),
        "no GPU at hand for (f) to (h) at full size; the data of (b) to (e) by the order of Table 1, not stated",
    )


def _figure2a(given: str) -> Answer:
    start = at_the_start(given)
    text = ", ".join(number(round(bound, 1)) for bound in start.values())
    along = {size: _with_width(averaged(given, size)) for size in batch_sizes(given)}
    return Answer(
        f"B_S at the start, L = 1 to 10 (mean of {results(given).study.num_seeds} nets each): {text}; rank "
        f"correlation with width {_with_width(list(start.values()))}. Averaged along runs, every ten epochs, it is "
        f"{_by_size(along)}: short runs are measured at the start only; in long ones B_S grows, and deep "
        "nets run longer",
        together([_with_width(list(start.values())).verdict, *(one.verdict for one in along.values())]),
        f"{GRIDS[given].under}; at the start, and averaged at small batches. The paper does not give the batch size",
    )


def _with_width(values: Sequence[float]) -> Ranked:
    """Of numbers from wide to deep."""
    return ranked(values, [-float(place) for place in range(len(values))])


def _by_size(found: Mapping[int, Ranked]) -> str:
    return f"{', '.join(f'{one.rank:.2f}' for one in found.values())} at B = {', '.join(map(str, found))}"


def _figure2b(given: str) -> Answer:
    largest = batch_threshold(results(given), "within_epochs(14)")
    values = [estimate.ordering for estimate in largest.values()]
    order = float(np.mean([a > b for i, a in enumerate(values) for b in values[i + 1 :]]))
    ends, over = list(largest.values()), trend(sweeps_of(results(given)), "within_epochs(14)")
    text = f"{ends[0].text} {ends[0].interval_text} (L = 1) to {ends[-1].text} {ends[-1].interval_text} (L = 10)"
    return Answer(
        f"{text}; the wider has the larger in {order:.0%} of pairs of shapes, n = {ends[0].n} a shape; {over.short}, "
        f"probability {probability_text(over.probability)} of falling",
        decided(over.probability),
        GRIDS[given].under,
    )


def _figure2c(given: str) -> Answer:
    largest = [one.ordering for one in batch_threshold(results(given), "within_epochs(14)").values()]
    start = ranked(at_the_start(given).values(), largest)
    along = {size: ranked(averaged(given, size), largest) for size in batch_sizes(given)}
    return Answer(
        f"rank correlation with B_S at the start {start}; with B_S averaged along runs {_by_size(along)} "
        f"({len(largest)} shapes)",
        together([start.verdict, *(one.verdict for one in along.values())]),
        f"{GRIDS[given].under}; as for Fig 2a",
    )


FIGURE2 = {
    "Fig 2a": ("linear nets, synthetic set: averaged gradient diversity grows with width", _figure2a),
    "Fig 2b": ("the largest batch that reaches 1e-12 within 14 epochs grows with width", _figure2b),
    "Fig 2c": ("that largest batch grows with the averaged gradient diversity", _figure2c),
}
for _id, (_paper, _of) in FIGURE2.items():
    claim(_id, _paper, LINEAR)(partial(_of, LINEAR))
for _id, (_paper, _of) in FIGURE2.items():
    claim(f"{_id}, tuned", f"(without the two-epoch rule) {_paper}", LINEAR_TUNED)(partial(_of, LINEAR_TUNED))


@claim("Fig 2, MNIST", "(ours) the same three statements on MNIST", MNIST)
def _figure2_mnist() -> Answer:
    mnist = results(MNIST)
    one = correlate(diversities(mnist), batch_threshold(mnist, "within_epochs(50)"))
    ends = list(diversities(mnist).values())
    start = ", ".join(number(round(bound)) for bound in at_the_start(MNIST).values())
    first = _with_width(list(at_the_start(MNIST).values()))
    return Answer(
        f"B_S after the start, at equal epochs: {ends[0].text} {ends[0].interval_text} (L = 1), {ends[-1].text} "
        f"{ends[-1].interval_text} (L = 10); with the largest batch within 50 epochs: {one.short}; at the start the "
        f"order is the opposite: {start}",
        together([decided(one.probability), first.verdict]),
        f"{SGD_MNIST}; after the start at equal epochs, chosen after whole averages had misled",
    )


NUMBERS_OF_3B = "MNIST, L = 10, K = 17: 2 to 3 epochs for B < 256, 50 at B = 4096"
THRESHOLDS_OF_3B = "MNIST: the threshold is 256 at L = 10 and 1024 at L = 1"
ELSEWHERE = "(the same asked of other data, at another target, after the numbers of 3b-i had not come out)"


def _numbers_of_3b(given: str, under: str) -> Answer:
    sizes = "; ".join(f"B = {size}: {epochs(given, 10, size)}" for size in (32, 64, 128, 256, 4096))
    near = {size: is_near_3b(cell_of(given)[10, size]) for size in TEXT_3B}
    large = near.pop(4096)
    return Answer(sizes, together(HOLDS if one else FAILS for one in (all(near.values()), large)), under)


def _thresholds_of_3b(given: str, under: str) -> Answer:
    one = compare(results(given), definition="b_crit")
    wide, deep = one.first, one.second
    parts = [_is_told(wide, 1024), _is_told(deep, 256), decided(one.probability)]
    return Answer(
        f"B_crit {wide.text} {wide.interval_text} at L = 1, {deep.text} {deep.interval_text} at L = 10; larger at "
        f"L = 1 with probability {probability_text(one.probability)}{f'; {one.biased}' if one.biased else ''}",
        UNDECIDED if one.biased else together(parts),
        f"{under}; B_crit, for the paper names no rule by which it reads a threshold",
    )


def _is_told(found: ThresholdEstimate, told: float) -> str:
    """Whether a threshold is that of the text: near it, or not told apart from it, or another."""
    if is_near(found.ordering, told, told):
        return HOLDS
    low, high = found.interval
    return UNDECIDED if low <= told <= high else FAILS


for _id, _paper, _answer in (
    ("3b-i", NUMBERS_OF_3B, _numbers_of_3b),
    ("3b-ii", THRESHOLDS_OF_3B, _thresholds_of_3b),
):
    claim(_id, _paper, MNIST)(partial(_answer, MNIST, SGD_MNIST))
    for _end, _given in ((", Letters", LETTERS), (", Letters, tuned", LETTERS_TUNED)):
        claim(f"{_id}{_end}", f"{ELSEWHERE} {_paper}", _given)(partial(_answer, _given, GRIDS[_given].under))


@claim("3c", "EMNIST, B = 4096: epochs fall from 211 to 9 as K grows from 17 to 21", EMNIST)
def _3c() -> Answer:
    return panel_c.answer(EMNIST, f"{panel_c.THREE_PASSES}, plain SGD, step sizes by factors of 2")


@claim("Fig 4", "epochs of every structure as a heat map; more depth seldom helps", LINEAR)
def _figure4() -> Answer:
    parts, shares = [], []
    for recipe, grid in runs_of(GRIDS):
        wins, pairs = (
            sum(x) for x in zip(*(share_of_wider_faster(recipe, size) for size in batch_sizes(recipe)), strict=True)
        )
        shares.append(wins / pairs)
        parts.append(f"{grid.data}: the wider needs fewer epochs in {grouped(wins)} of {grouped(pairs)} (pair, B)")
    verdicts = (HOLDS if share >= 0.8 else FAILS if share <= 0.5 else UNDECIDED for share in shares)
    return Answer(
        "; ".join(parts), together(verdicts), "means over seeds, ties left out; seldom: in at most a fifth of all"
    )


@claim("Fig 5", "given a limit of epochs, larger K bears much larger batches", MNIST)
def _figure5() -> Answer:
    """Figure 5 is of classes; the linear nets' largest batch is Figure 2(b)."""
    panels = [one for one in runs_of(GRIDS) if results(one[0]).study.target.is_accuracy]
    found = [_within(given, grid, limit) for given, grid in panels for limit in (20, 50)]
    parts, verdicts = zip(*found, strict=True)
    return Answer(
        "; ".join(parts),
        together(verdicts),
        "as F1 on each; 20 and 50 epochs are ours, the paper's not stated",
    )


def _within(given: str, grid: Grid, limit: int) -> tuple[str, str]:
    """The largest batches within a number of epochs in words, and the verdict on their falling with depth."""
    definition = f"within_epochs({limit})"
    found = list(batch_threshold(results(given), definition).values())
    over = trend(sweeps_of(results(given)), definition)
    most = max(found, key=lambda one: one.ordering)
    outside = f" ({over.num_outside} of {over.n} shapes outside the batch sizes, at twice their end)"
    outside = outside if over.num_outside else ""
    return (
        f"{grid.data}, within {limit} epochs: {found[0].text} {found[0].interval_text} (L = 1) against "
        f"{found[-1].text} {found[-1].interval_text} (L = 10), the largest {most.text} of {most.shape}; "
        f"{over.short}{outside}, probability {probability_text(over.probability)} of falling",
        decided(over.probability),
    )


CLOSE = 0.1  # a count in thousands or millions is told to so much
STAND_INS = ("EMNIST", "Gisette")  # of Table 1's data sets: the reduced 47 classes, and generated data


@claim("Tab 1", "data sets, sizes, parameters and targets")
def _table1() -> Answer:
    stated = {row.recipe: float(row.stated[:-1]) * {"k": 1e3, "m": 1e6}[row.stated[-1]] for row in table1()}
    ratios = [count / stated[row.recipe] for row in table1() for count in row.parameters]
    data = {row.dataset for row in table1()}
    return Answer(
        f"parameters of the widest and the deepest net over the stated number: {number(min(ratios))} to "
        f"{number(max(ratios))} in {len(stated)} rows; of {len(data)} data sets {len(STAND_INS)} are stand-ins "
        f"({', '.join(STAND_INS)}); `batchscope recipes` prints all with our counts",
        together(
            [HOLDS if all(abs(ratio - 1) < CLOSE for ratio in ratios) else FAILS]
            + [FAILS if name in STAND_INS else HOLDS for name in data]
        ),
        "training images of MNIST and CIFAR-10 only, which the paper counts with those of the test",
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
    above = sum(line.ratio > line.promise for line in within) - len(broken)
    worst = "; ".join(
        f"{line.problem}, L = {line.depth}, γ = {line.sum_step_size:g}, B = {line.batch_size}: {number(line.ratio)} "
        f"times the serial loss, at least {number(line.low)}, {number(line.promise)} promised"
        for line in broken
    )
    return Answer(
        f"not broken beyond chance at any of 20 passes in {len(within) - len(broken)} of {len(within)} (net, γ, B) "
        f"with δ <= 1, {above} of them above the promise in the mean; broken in {len(broken)} ({worst}); with δ > 1 "
        f"broken in {sum(line.broken for line in beyond)} of {len(beyond)}. Largest B below the first break, L = 1 and "
        f"L = 6: {_kept(found)} (n = {found[0].n} seeds)",
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
