"""The paper's findings over all shapes, and the headline made of them: planted answers, bounds, words."""

from __future__ import annotations

import dataclasses
import json
import math
import re

import numpy as np
import pytest

from batchscope.analysis import sweeps_of
from batchscope.analysis.digest import digest
from batchscope.analysis.findings import findings
from batchscope.analysis.headline import goal
from batchscope.analysis.intervals import CERTAIN
from batchscope.analysis.known_answers.planted import lost
from batchscope.analysis.log_times import log_times, own_variance
from batchscope.analysis.same_batch import epoch_ratios
from batchscope.analysis.slow_down import holm, slow_downs
from batchscope.analysis.trend import trend
from batchscope.report.terminal import study_text

from .conftest import make_rows

SIZES = (32, 64, 128, 256, 512, 1024)
FINE = {"evaluations_per_epoch": 20, "max_epochs": 1000}
COARSE = {"evaluations_per_epoch": 1}


def shape(depth, start=5.0, b_crit=200.0, spread=0.05, cap=1000.0, seeds=5, **changes):
    """Rows of one shape: epochs = start (1 + B / b_crit), lognormal noise; None beyond the cap."""
    rng = np.random.default_rng(depth)
    table = {
        size: [
            None if epochs > cap else float(epochs)
            for epochs in start * (1 + size / b_crit) * np.exp(spread * rng.standard_normal(seeds))
        ]
        for size in SIZES
    }
    return make_rows(table, shape=f"net-{depth}", depth=depth, **{**FINE, "max_epochs": cap, **changes})


def ratios_of(rows):
    return epoch_ratios(log_times(sweeps_of(rows)), CERTAIN)


def test_ratios_of_epochs_hold_the_truth_at_every_batch_size():
    found = ratios_of(shape(1) + shape(4, start=15.0))
    assert [one.batch_size for one in found.ends] == list(SIZES)
    assert all(one.interval[0] < 3 < one.interval[1] < 4.5 for one in found.ends)
    assert found.interval[0] < 3 < found.interval[1] < 3.5
    assert (found.num_faster, found.num_certain, found.num_against, found.num_compared) == (6, 6, 0, 6)
    assert found.probability > 0.99
    assert found.largest_common == 1024
    swapped = ratios_of(shape(1, start=15.0) + shape(4))
    assert swapped.num_against == 6
    assert swapped.probability < 0.01


def test_a_mean_that_does_not_stand_for_all_batch_sizes_decides_nothing():
    """Wide is three times as fast at small batches and as slow at large ones, from either side."""
    for wide, deep in (((5.0, 60.0), (15.0, 4000.0)), ((15.0, 4000.0), (5.0, 60.0))):
        rows = shape(1, *wide) + shape(4, *deep)
        found = ratios_of(rows)
        assert found.is_mixed
        assert found.short.endswith("of 6, mixed")
        (second,) = [one for one in findings(rows) if one.name == "F2"]
        assert second.decision == "undecided"
        assert math.isnan(second.probability)
        assert f"{found.num_certain} of them certain, {found.num_against} certainly the other way" in second.sentence


@pytest.mark.parametrize("ratio", [1.0, 1.2, 3.0])
def test_noise_alone_is_rarely_mixed(ratio):
    rng = np.random.default_rng(7)
    mixed = 0
    for _ in range(60):
        rows = []
        for depth in (1, 2, 3):
            epochs = 5 * ratio**depth * (1 + np.array(SIZES) / 200) * np.exp(0.2 * rng.standard_normal((5, len(SIZES))))
            table = dict(zip(SIZES, epochs.T.tolist(), strict=True))
            rows += make_rows(table, shape=f"net-{depth}", depth=depth, **FINE)
        mixed += ratios_of(rows).is_mixed
    assert mixed <= 4  # 7 %


def test_with_few_batch_sizes_an_error_of_their_own_is_assumed_and_said():
    """Equal shapes whose batch sizes are off by 15 % each: three do not show it, and more seeds do not mend it."""
    rng = np.random.default_rng(3)
    decided = 0
    for _ in range(60):
        rows = []
        for depth in (1, 2, 3):
            own = np.exp(0.15 * rng.standard_normal(3))
            epochs = 12 * own * np.exp(0.1 * rng.standard_normal((5, 3)))
            rows += make_rows(dict(zip((16, 64, 256), epochs.T.tolist(), strict=True)), depth=depth, shape=f"{depth}")
        found = ratios_of(rows)
        assert not found.own_is_seen
        assert "an error of 18 % that each batch size has of its own, assumed" in found.sentence
        assert "an error of 18 % that each batch size has of its own, assumed" in findings(rows)[0].sentence
        decided += found.is_mixed or not 1 - CERTAIN < found.probability < CERTAIN
    assert decided <= 9  # 15 %; by the seeds alone, 58
    seen = ratios_of(shape(1) + shape(4, start=15.0))
    assert seen.own_is_seen
    assert "assumed" not in seen.sentence


def test_a_bound_that_says_nothing_is_not_held_against_the_shape_it_favours():
    """The wider arrives in one of five runs and the deeper in none: more than 0.5 times as many epochs, so it says."""
    rows = make_rows({size: [39.0, *4 * [None]] for size in SIZES}, shape="wide", depth=1, max_epochs=40)
    rows += make_rows({size: 5 * [None] for size in SIZES}, shape="deep", depth=4, max_epochs=40)
    found = ratios_of(rows)
    assert all(one.bound == ">" and one.limit < 1 for one in found.ends)
    assert found.mean_ratio == pytest.approx(1)
    assert found.probability == pytest.approx(0.5)
    swapped = ratios_of([dataclasses.replace(row, depth=5 - row.depth) for row in rows])
    assert swapped.mean_ratio == pytest.approx(1)
    first = make_rows({size: 5 * [1.0] for size in SIZES}, shape="wide", depth=1)  # by the first check
    late = make_rows({size: [*4 * [1.0], 2.0] for size in SIZES}, shape="deep", depth=4)
    assert next(one for one in findings(first + late) if one.name == "F2").decision != "contradicted"


def test_a_crossing_is_found_among_more_than_500_comparisons():
    sizes = [2**k for k in range(4, 16)]
    rows = []
    for depth in range(1, 11):
        table = {size: 3 * [10 * 1.3**depth * (1 + size / (150 * 1.5**depth))] for size in sizes}
        rows += make_rows(table, shape=f"net-{depth:02}", depth=depth, evaluations_per_epoch=20, max_epochs=10**5)
    found = ratios_of(rows)
    assert found.num_compared == 540
    assert found.num_against > 27
    assert found.is_mixed


def test_a_shape_that_never_arrives_is_a_bound_and_not_missing():
    found = ratios_of(shape(1, cap=32.0) + shape(4, start=15.0, cap=32.0))  # 15 (1 + 256/200) = 34
    assert [one.bound for one in found.ends] == ["", "", "", "", ">", ">"]
    assert found.ends[3].censored  # some seed arrived
    assert found.ends[-1].interval[1] == math.inf
    assert found.ends[-1].probability > 0.5
    assert found.largest_common == 256
    neither = ratios_of(shape(1, cap=4.0) + shape(4, cap=4.0))
    assert all(math.isnan(one.probability) for one in neither.ends)
    assert neither.num_compared == 0
    assert "at which their epochs can be compared" in neither.sentence


def test_an_error_of_the_batch_sizes_widens_the_intervals():
    exact, rng = shape(1) + shape(4), np.random.default_rng(5)
    factors = {(depth, size): math.exp(0.2 * rng.standard_normal()) for depth in (1, 4) for size in SIZES}
    rough = []
    for depth in (1, 4):
        table = {
            size: [
                5 * (1 + size / 200) * factors[depth, size] * math.exp(0.05 * rng.standard_normal()) for _ in range(5)
            ]
            for size in SIZES
        }
        rough += make_rows(table, shape=f"net-{depth}", depth=depth, **FINE)
    own = [math.sqrt(own_variance(list(log_times(sweeps_of(rows)).values()))[0]) for rows in (exact, rough)]
    assert own[0] < 0.05 < 0.1 < own[1] < 0.4
    reach = [
        math.log(one.interval[1] / one.interval[0]) for one in (ratios_of(exact).ends[2], ratios_of(rough).ends[2])
    ]
    assert reach[1] > 2 * reach[0]


def test_a_shape_that_arrives_by_the_first_check_is_a_bound_and_has_not_failed():
    found = ratios_of(shape(1, start=0.5, **COARSE) + shape(4, start=4.0, **COARSE))
    assert [one.known for one in found.ends[:2]] == [("<", "=")] * 2
    assert [one.bound for one in found.ends[:2]] == [">"] * 2
    assert not any(one.censored for one in found.ends)


def test_slow_downs_are_found_where_they_are():
    times = log_times(sweeps_of(shape(1, b_crit=1e9) + shape(2) + shape(3, cap=9.0)))
    flat, rising, censored = slow_downs(times).shapes
    assert (flat.slows, flat.flat) == (False, True)
    assert rising.slows
    assert rising.interval[0] < (1 + 1024 / 200) / (1 + 32 / 200) < rising.interval[1]
    assert censored.slows
    assert censored.bound == ">"


def test_holm_is_that_of_the_textbook():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


def test_the_trend_of_b_crit_over_depth():
    rows = [row for depth in (1, 2, 4, 8) for row in shape(depth, b_crit=400.0 / depth)]
    found = trend(sweeps_of(rows), "b_crit")
    assert found.interval[0] < 0.5 < found.interval[1] < 0.8
    assert found.probability > 0.95
    assert math.isnan(trend(sweeps_of(shape(1)), "b_crit").probability)


CASES = {
    "wide faster": (
        shape(1) + shape(4, start=15.0, b_crit=60.0),
        r"deep needs .* times wide's epochs at every batch size",
    ),
    "deep faster": (shape(1, start=15.0) + shape(4), r"wide needs .* times deep's epochs at every batch size tested"),
    "equal": (shape(1, spread=0.2) + shape(4, spread=0.2), "not told apart by their epochs"),
    "crossing": (shape(1, start=8.0, b_crit=900.0) + shape(4, b_crit=80.0), "and wide needs .* at batch size"),
    "deep lost": (
        shape(1, cap=30.0) + shape(4, start=15.0, cap=30.0),
        "deep never arrives at batch sizes 256, 512 and 1024",
    ),
    "only wide": (shape(1) + shape(4, start=50.0, cap=30.0), "To 96 % training accuracy, deep never arrives"),
    "nobody": (shape(1, cap=4.0) + shape(4, cap=4.0), "neither arrives .* What to do: allow more epochs"),
    "wide early": (
        shape(1, start=0.5, **COARSE) + shape(4, start=4.0, **COARSE),
        "at which both arrive after the first check .*; wide arrives by the first check at batch sizes 32",
    ),
    "deep early": (
        shape(1, start=4.0, **COARSE) + shape(4, start=0.5, **COARSE),
        "deep arrives by the first check at batch sizes 32",
    ),
    "both early": (
        shape(1, start=0.1, **COARSE) + shape(4, start=0.1, **COARSE),
        "both arrive by the first check at batch sizes .* What to do: check the target more often",
    ),
    "wide early, deep lost": (
        shape(1, start=0.1, **COARSE) + shape(4, start=500.0, **COARSE),
        r"deep never arrives at batch sizes 256, 512 and 1024 \(within 1000 epochs\); wide arrives by the first check",
    ),
    "deep blows up": (
        shape(1) + [lost(row) if row.batch_size == 1024 else row for row in shape(4, start=15.0)],
        "deep never arrives at batch size 1024 ",
    ),
    "deep always blows up": (
        shape(1, cap=30.0) + [lost(row) for row in shape(4)],
        r"deep never arrives at batch sizes .* \(its runs diverged\).* take the wide shape, which alone met the target",
    ),
    "both blow up": (
        [lost(row) for row in shape(1) + shape(4)],
        r"neither arrives at .* \(its runs diverged\).* What to do: try smaller step sizes",
    ),
    "nothing in common": (
        [row for row in shape(1) if row.batch_size < 100] + [row for row in shape(4) if row.batch_size > 100],
        "no finished runs at the same batch size. .* What to do: run both shapes at the same batch sizes",
    ),
    "one shape": (shape(1), "net-1 has B_crit"),
    "one run": (shape(1)[:1], "the target was met at one batch size only"),
    "nothing": ([], "No finished runs"),
}


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("train accuracy 0.96", "To 96 % training accuracy"),
        ("train accuracy running 0.65", "To 65 % training accuracy running over an epoch"),
        ("train loss 1e-12", "To a training loss of 1e-12"),
        ("heldout loss 0.5", "To a held-out loss of 0.5"),
        ("train metric at least 0.5", "To train metric at least 0.5"),
    ],
)
def test_the_target_is_put_in_words(target, words):
    (sweep,) = sweeps_of(shape(1)).values()
    assert goal(dataclasses.replace(sweep, target=target)) == words


@pytest.mark.parametrize("name", CASES)
def test_the_headline_says_what_was_planted(name):
    rows, expected = CASES[name]
    text = digest(rows).headline.sentence
    assert re.search(expected, text), text
    assert "nan" not in text
    assert "1.00" not in text


@pytest.mark.parametrize(("arriving", "name"), [(1, "wide"), (4, "deep")])
def test_a_shape_that_alone_arrived_is_the_advice_however_few_the_seeds(arriving, name):
    rows = [
        row
        for depth in (1, 4)
        for row in shape(depth, start=22.0 if depth == arriving else 50.0, spread=0.01, cap=30.0, seeds=2)
        if row.batch_size in (32, 1024)
    ]
    headline = digest(rows).headline
    assert "never arrives" in headline.epochs
    assert headline.advice.startswith(f"What to do: take the {name} shape, which alone met the target"), headline.advice


def test_a_shape_that_met_the_target_where_the_other_did_not_run_is_not_passed_over():
    rows = shape(1) + [row for row in shape(4, start=5.0) if row.batch_size == 32] + shape(4, start=5000.0)[5:]
    rows = [row for row in rows if (row.depth, row.batch_size) != (1, 32)]
    assert "alone met" not in digest(rows).headline.advice


def test_the_second_sentence_does_not_take_back_the_first():
    slower_but_larger = digest(shape(1, b_crit=60.0) + shape(4, start=60.0, b_crit=900.0)).headline
    assert "deep needs" in slower_but_larger.epochs
    assert "Counted from its own best, deep slows down only at the larger batch" in slower_but_larger.slow_down
    assert "take the wide shape" in slower_but_larger.advice


@pytest.mark.parametrize("name", CASES)
def test_the_terminal_fits_a_hundred_columns_and_starts_with_the_headline(name):
    rows, _ = CASES[name]
    one = digest(rows)
    text = study_text(one)
    assert max(map(len, text.splitlines())) <= 100
    assert " ".join(text.split("\n\n")[1].split()) == one.headline.sentence
    json.dumps(one.headline.as_dict(), allow_nan=False)
    json.dumps(one.epoch_ratios.as_dict(), allow_nan=False)


def test_exploratory_comparisons_are_counted():
    one = digest(shape(1) + shape(4, start=15.0))
    assert len(one.exploratory) == 4
    assert "4 comparisons besides the headline's" in study_text(one)


def test_without_any_arrival_no_shape_is_tested_for_a_slow_down():
    assert slow_downs(log_times(sweeps_of(shape(1, cap=4.0)))).shapes == ()
    assert math.isnan(digest(shape(1, cap=4.0)).findings[0].probability)


def test_no_runs_are_said_in_a_line():
    assert study_text(digest([])).startswith("No runs\n")
    assert len(study_text(digest([])).splitlines()) < 6


def test_one_shape_alone_gets_advice_and_a_word_where_its_interval_is_wide():
    sharp = digest(shape(1, seeds=8, spread=0.01)).headline.sentence
    assert re.search(r"B_crit 20\d \[.*What to do: its batch can be raised to about 20\d at a cost", sharp)
    assert "vague" not in sharp
    few = [row for row in shape(1, seeds=2, spread=0.5) if row.batch_size in (32, 128, 512)]
    assert "That is vague: one more batch size or seed narrows it." in digest(few).headline.sentence
    slow = digest(shape(1, b_crit=3.0)).headline
    assert "it slows down from the smallest batch tested on" in slow.advice
    never = digest(shape(1, start=2000.0, cap=1000.0)).headline
    assert "What to do" not in never.sentence
    assert all("A second shape" in one.advice for one in (slow, never))
