"""Every definition, verdict, finding, table and gate on planted studies: values, and widths of intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

from batchscope.analysis.cells import cells
from batchscope.analysis.definitions import DEFINITIONS
from batchscope.analysis.digest import digest
from batchscope.analysis.diversity import at_equal_epochs
from batchscope.analysis.findings import correlate_diversity, findings
from batchscope.analysis.fit.critical_batch import fit
from batchscope.analysis.formatting import bounds_text, number, probability_text
from batchscope.analysis.gate import require
from batchscope.analysis.intervals import CERTAIN
from batchscope.analysis.known_answers.check import Check
from batchscope.analysis.known_answers.planted import (
    BATCH_SIZES,
    CURVES,
    FLOPS_PER_EPOCH,
    lost,
    planted,
    with_diversity,
)
from batchscope.analysis.log_times import log_times, own_variance
from batchscope.analysis.same_batch import epoch_ratios
from batchscope.analysis.slow_down import holm, slow_downs
from batchscope.analysis.sweeps import sweeps_of
from batchscope.analysis.thresholds import batch_threshold
from batchscope.analysis.trend import trend
from batchscope.analysis.verdict import UNDECIDED, compare
from batchscope.records.row import Row

SOURCE = "planted hyperbolas, 8 batch sizes x 5 seeds, 5 %"
WIDE, DEEP = CURVES[0], CURVES[-1]
Interval = tuple[float, float]


def held(name: str, truth: float, value: float, interval: Interval, off: float, widest: float) -> Check:
    """The value is within a relative `off` of the truth; the interval holds it, and high / low is in (1, widest]."""
    low, high = interval
    inside = low <= truth * (1 + 1e-9) and truth <= high * (1 + 1e-9)
    narrow = low > 0 and 1.0 < high / low <= widest
    passed = inside and narrow and abs(value - truth) <= off * truth
    expected = f"{number(truth)} within {100 * off:g} % and inside an interval at most {widest:g} wide"
    return Check(name, SOURCE, expected, f"{number(value)} {bounds_text(interval)}", passed)


def definitions() -> Iterator[Check]:
    """Every named threshold, also with another number than the default."""
    rows, measured = planted(), with_diversity(planted())
    sizes = [size for size in BATCH_SIZES if WIDE.epochs(size) <= 1.2 * WIDE.epochs(BATCH_SIZES[0])]
    wider = [size for size in BATCH_SIZES if WIDE.epochs(size) <= 2 * WIDE.epochs(BATCH_SIZES[0])]
    truths = {
        "b_crit": (WIDE.b_crit, 0.2, 2.0),
        "overhead_20": (WIDE.overhead(0.2), 0.3, 4.0),
        "overhead_20(1)": (WIDE.overhead(1.0), 0.15, 1.6),
        "within_epochs(8)": (WIDE.within_epochs(8), 0.15, 1.6),
        "within_epochs(10)": (WIDE.within_epochs(10), 0.15, 1.6),
        f"within_flops({8 * FLOPS_PER_EPOCH:.6g})": (WIDE.within_epochs(8), 0.15, 1.6),
        "within_steps(500)": (WIDE.within_steps(500), 0.1, 1.5),
    }
    for definition, (truth, off, widest) in truths.items():
        found = batch_threshold(rows, definition, "wide")
        yield held(f"{definition} of the wide shape", truth, found.value, found.interval, off, widest)
    for definition, last, share in (("paper2018", sizes[-1], 0.2), ("paper2018(1)", wider[-1], 1.0)):
        found = batch_threshold(rows, definition, "wide")
        low, high = found.interval
        crossing = WIDE.overhead(share)
        right = found.value == last or abs(found.value / crossing - 1) < 0.12  # a size tested, or between two
        passed = right and last / 2 <= low <= found.value <= high <= 4 * last
        got = f"{found.text} {found.interval_text}"
        yield Check(f"{definition} of the wide shape", SOURCE, f"{last}, or {crossing:.0f} between two", got, passed)
    found = batch_threshold(measured, "mean_diversity", "wide")
    exact = sum(row.batch_size_bound or 0.0 for row in measured if row.shape == WIDE.shape) / (5 * len(BATCH_SIZES))
    yield held("mean_diversity of the wide shape", exact, found.value, found.interval, 0.01, 1.2)
    names = {name.partition("(")[0] for name in truths} | {"paper2018", "mean_diversity"}
    yield Check(
        "every definition is asked", SOURCE, str(sorted(DEFINITIONS)), str(sorted(names)), names == set(DEFINITIONS)
    )


def edges() -> Iterator[Check]:
    """A threshold outside the sweep is a comparison, one that nobody reaches is missing."""
    flat, steep = replace(WIDE, b_crit=1e9), replace(WIDE, b_crit=0.5)
    texts = [batch_threshold(planted((one,)), "b_crit", one.shape).text for one in (flat, steep)]
    expected = ["> 2048", "<= 16"]
    yield Check("B_crit beyond and below the sweep", SOURCE, str(expected), str(texts), texts == expected)
    gone = batch_threshold([lost(row) for row in planted((WIDE,))], "within_epochs(8)", WIDE.shape)
    passed = gone.value != gone.value or gone.censored.startswith("<")
    yield Check("no value where every run diverged", SOURCE, "none, or < 16", gone.text, passed)


def fits() -> Iterator[Check]:
    """Censored runs count as such: the fit of capped runs is that of the whole ones."""
    capped = fit(planted(cap=9.0), WIDE.shape)
    yield held("B_crit with runs stopped after 9 epochs", WIDE.b_crit, capped.b_crit, capped.interval, 0.25, 2.5)
    yield held("its interval over seeds alone", WIDE.b_crit, capped.b_crit, capped.interval_seeds, 0.25, 2.0)
    whole = fit(planted(), WIDE.shape)
    got = f"{whole.num_censored} and {capped.num_censored} censored, spread {whole.spread:.3f}"
    passed = whole.num_censored == 0 < capped.num_censored and 0.03 < whole.spread < 0.07
    yield Check("censored runs are counted, spread of seeds", SOURCE, "0 and more, 0.05", got, passed)
    some = [lost(row) if row.seed == 0 else row for row in planted()]
    diverged = fit(some, WIDE.shape)
    got = f"{diverged.num_diverged} diverged, B_crit {diverged.text}"
    passed = diverged.num_diverged == 8 and abs(diverged.b_crit / WIDE.b_crit - 1) < 0.3
    yield Check("diverged runs are no times", SOURCE, "8 diverged, B_crit within 30 % of 800", got, passed)


def tables() -> Iterator[Check]:
    """The summary of a cell: median, interval, bounds."""
    table = {(cell.shape, cell.batch_size): cell for cell in cells(planted(cap=20.0))}
    for batch_size in (16, 2048):
        cell, truth = table[WIDE.shape, batch_size], WIDE.epochs(batch_size)
        assert cell.epochs is not None
        interval = (cell.epochs.low or 0.0, cell.epochs.high or math.inf)
        yield held(f"epochs at {batch_size}", truth, cell.epochs.value, interval, 0.08, 1.35)
    cell = table[DEEP.shape, 2048]
    yield Check("epochs where no seed arrives", SOURCE, "> 20", cell.epochs_text, cell.epochs_text == "> 20")


def ratios() -> Iterator[Check]:
    """Epochs at the same batch size, whole and censored, and with batch sizes that err on their own."""
    found = epoch_ratios(log_times(sweeps_of(planted(cap=20.0))), CERTAIN)
    for one in (found.ends[0], found.ends[3]):
        truth = DEEP.epochs(one.batch_size) / WIDE.epochs(one.batch_size)
        yield held(f"deep over wide at {one.batch_size:g}", truth, one.ratio, one.interval, 0.12, 1.6)
    last = found.ends[-1]
    got = f"{last.text}, probability {probability_text(last.probability)}"
    passed = last.bound == ">" and 1 < last.limit < 22 and last.interval[1] == math.inf and last.probability >= CERTAIN
    yield Check("one that never arrives is a bound", SOURCE, "> a number, certain", got, passed)
    never_sure = max(one.probability for one in found.ends) < 1 and found.probability < 1
    yield Check("no probability is 1", SOURCE, "below 1", f"at most {found.probability:g}", never_sure)
    got = f"{found.num_faster} of {found.num_compared}, {found.num_against} against"
    yield Check("pairs in which the wider is faster", SOURCE, "all, 0 against", got,
                found.num_faster == found.num_compared > 30 and found.num_against == 0)  # fmt: skip
    exact, rough = (own_variance(list(log_times(sweeps_of(planted(own=own))).values()))[0] for own in (0.0, 0.3))
    got = f"{math.sqrt(exact):.3f} and {math.sqrt(rough):.3f}"
    yield Check(
        "error of a batch size of its own",
        SOURCE,
        "near 0, near 0.3",
        got,
        exact < 0.05**2 and 0.18**2 < rough < 0.45**2,
    )


def slow_down_checks() -> Iterator[Check]:
    """Which shapes slow down, and what many shapes do to a p-value."""
    curves = (replace(WIDE, b_crit=1e9), *CURVES[1:])
    found = slow_downs(log_times(sweeps_of(planted(curves))))
    slows = [one.slows for one in found.shapes]
    yield Check(
        "a flat shape among four", SOURCE, "3 of 4, the first not", found.short, slows == [False, True, True, True]
    )
    yield Check("and it is said to be flat", SOURCE, "True", str(found.shapes[0].flat), found.shapes[0].flat)
    second = found.shapes[1]
    truth = curves[1].epochs(2048) / curves[1].epochs(16)
    yield held("rise of the epochs", truth, second.rise, second.interval, 0.1, 1.5)
    adjusted = holm([0.01, 0.04, 0.03])
    expected = [0.03, 0.06, 0.06]
    same = all(abs(a - b) < 1e-9 for a, b in zip(adjusted, expected, strict=True))
    yield Check("Holm's adjustment", "Holm 1979", str(expected), str(adjusted), same)


def trends() -> Iterator[Check]:
    """B_crit halves with every doubling of the depth."""
    found = trend(sweeps_of(planted()), "b_crit")
    yield held("B_crit per doubled depth", 0.5, found.factor, found.interval, 0.15, 1.6)
    sure = CERTAIN <= found.probability < 1
    yield Check("the trend is decided, not certain", SOURCE, "0.95 to below 1", f"{found.probability:g}", sure)


def verdicts_planted() -> Iterator[Check]:
    """Differences that are there, by every question, either way round; none where there is none."""
    rows, measured = planted(), with_diversity(planted())
    questions = {
        **{definition: {"definition": definition} for definition in ("b_crit", "overhead_20", "within_epochs(10)")},
        "equal steps": {"equal": "steps"},
        "equal FLOPs": {"equal": "flops"},
    }
    for name, question in questions.items():
        decisions = [compare(rows, *pair, **question).decision for pair in (("wide", "deep"), ("deep", "wide"))]  # type: ignore[arg-type]
        yield Check(
            f"verdict by {name}, asked both ways", SOURCE, "wide, wide", ", ".join(decisions), decisions == ["wide"] * 2
        )
    verdict = compare(rows)
    yield held("ratio of B_crit, wide over deep", 8.0, verdict.ratio, verdict.ratio_interval, 0.3, 3.0)
    by_diversity = compare(measured, definition="mean_diversity")
    yield held("diversity at equal epochs", 8.0, by_diversity.ratio, by_diversity.ratio_interval, 0.02, 1.1)
    along = [sweep.bounds.mean() for sweep in sweeps_of(measured).values()]
    equal = [
        sweep.bounds[~(sweep.bounds != sweep.bounds)].mean()
        for sweep in at_equal_epochs(list(sweeps_of(measured).values()))
    ]
    got = f"{along[0] / along[-1]:.2f} along whole runs, {equal[0] / equal[-1]:.2f} at equal epochs"
    yield Check(
        "longer runs do not win by their length",
        SOURCE,
        "below 8, 8",
        got,
        along[0] / along[-1] < 6 < equal[0] / equal[-1],
    )
    twins = planted((WIDE, replace(WIDE, depth=2)))
    for definition in ("b_crit", "overhead_20", "within_epochs(8)"):
        twin = compare(twins, definition=definition)
        got = f"{twin.decision}, {probability_text(twin.probability)}"
        passed = twin.decision == UNDECIDED and 0.01 < twin.probability < 0.99
        yield Check(f"equal shapes by {definition}", SOURCE, UNDECIDED, got, passed)


EXPECTED = {
    "wider better": (CURVES, ["supported"] * 5),
    "deeper better": (
        tuple(replace(curve, depth=other.depth) for curve, other in zip(CURVES, reversed(CURVES), strict=True)),
        ["supported", "contradicted", "contradicted", "contradicted", "supported"],
    ),
    "all equal": (
        tuple(replace(WIDE, depth=depth) for depth in (1, 2, 4, 8)),
        ["supported", "undecided", "undecided", "undecided", "undecided"],
    ),
}


def findings_planted() -> Iterator[Check]:
    """F0, F1, F2 and Figures 2(a), 2(c) where they hold, where they do not, and where there is nothing to find."""
    for name, (curves, expected) in EXPECTED.items():
        rows = with_diversity(planted(tuple(sorted(curves, key=lambda curve: curve.depth))), curves)
        decisions = [finding.decision for finding in findings(rows)]
        yield Check(f"findings, {name}", SOURCE, ", ".join(expected), ", ".join(decisions), decisions == expected)
    found = correlate_diversity(with_diversity(planted()), "b_crit")
    got = f"{found.rank:.2f}, n = {found.n}"
    yield Check(
        "rank correlation of diversity and B_crit", SOURCE, "1.00, n = 4", got, found.rank == 1 and found.n == 4
    )


def sentences() -> Iterator[Check]:
    """The headline names the planted winner and numbers; a gate decides as the numbers do."""
    rows: tuple[Row, ...] = planted(cap=20.0)
    text = digest(rows).headline.sentence
    parts = ("deep needs", "deep never arrives at", "B_crit", "take the wide shape")
    missing = [part for part in parts if part not in text]
    yield Check("headline", SOURCE, ", ".join(parts), text if missing else "all of them", not missing)
    requirements = {
        "b_crit(wide) >= 400": True,
        "b_crit(wide) <= 400": False,
        "b_crit(deep) < 400": True,
        "b_threshold(wide, b_crit).low >= 400 and b_threshold(wide, b_crit).high <= 1600": True,
        "probability(wide, deep) > 0.95": True,
        "probability(deep, wide) > 0.95": False,
        "b_threshold(wide) >= 64": True,
    }
    answers = {text: require(rows, text).passed for text in requirements}
    wrong = [text for text, answer in answers.items() if answer != requirements[text]]
    yield Check("gates", SOURCE, f"{len(requirements)} right", f"wrong: {wrong}" if wrong else "all right", not wrong)


PLANTED_CHECKS: tuple[Callable[[], Iterator[Check]], ...] = (
    definitions,
    edges,
    fits,
    tables,
    ratios,
    slow_down_checks,
    trends,
    verdicts_planted,
    findings_planted,
    sentences,
)
