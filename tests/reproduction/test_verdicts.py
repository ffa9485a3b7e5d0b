"""Verdicts are the same either way: what opposite numbers would be said to show, and which numbers a line rests on."""

from __future__ import annotations

import contextlib
import itertools
import math
import re
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from reproduction.evidence import FAILS, HOLDS, IN_PART
from scipy import stats

from batchscope.analysis.verdict import UNDECIDED
from batchscope.records.packed import connected
from reproduction import claims, evidence, held_out, ranks
from reproduction import page as page  # registers every claim

OPPOSITE = {HOLDS: FAILS, FAILS: HOLDS, UNDECIDED: UNDECIDED, IN_PART: IN_PART}
# Every line of the paper that is asked about: definitions, theorems, findings, figures, numbers of the text, open ends.
ASKED = (
    *("D1", "D2", "N1", "P1", "T1", "T2", "T3", "T3a", "T3b", "T3c", "T3d", "L1", "M1", "F0", "F1", "F2", "Tab 1"),
    *(
        "Fig 1",
        "Fig 2a",
        "Fig 2b",
        "Fig 2c",
        "Fig 3a-h",
        "Fig 4",
        "Fig 5",
        "3b-i",
        "3b-ii",
        "3c",
        "3ef",
        "O1",
        "O2",
        "O3",
    ),
)


@pytest.mark.parametrize("name", ASKED)
def test_every_claim_of_the_paper_has_a_line(name):
    heads = [f"{one.id}, {one.paper}" for one in evidence.CLAIMS]
    assert any(re.search(rf"\b{re.escape(name)}\b", head) for head in heads)


@pytest.mark.parametrize("probability", [0.0, 0.03, 0.05, 0.2, 0.5, 0.94, 0.95, 1.0])
def test_the_opposite_probability_gives_the_opposite_verdict(probability):
    assert evidence.decided(1 - probability) == OPPOSITE[evidence.decided(probability)]


@pytest.mark.parametrize("probability", [0.01, 0.5, 0.99])
@pytest.mark.parametrize("is_mixed", [False, True])
def test_certain_comparisons_both_ways_hold_in_part_whatever_the_mean_says(probability, is_mixed):
    one = evidence.found(evidence.MNIST)["F2"]
    ratios = replace(evidence.ratios_of(one), probability=probability, is_mixed=is_mixed)
    sure = math.nan if is_mixed else probability
    decision = {HOLDS: "supported", FAILS: "contradicted"}.get(evidence.decided(sure), UNDECIDED)
    found = evidence.verdict_of(replace(one, decision=decision, evidence=ratios))
    whole = evidence.decided(probability)
    assert found == (IN_PART if is_mixed and whole != UNDECIDED else whole)


def test_parts_are_said_to_hold_together_only_where_all_do():
    for parts in itertools.product((HOLDS, FAILS, UNDECIDED), repeat=2):
        found = evidence.together(parts)
        assert (found == HOLDS) == all(part == HOLDS for part in parts)
        assert (found == IN_PART) == (HOLDS in parts and found != HOLDS)
    assert evidence.together([FAILS, UNDECIDED]) == FAILS
    assert evidence.together([UNDECIDED]) == UNDECIDED


@pytest.mark.parametrize(("found", "is_near"), [(33, False), (34, True), (75, True), (76, False), (math.inf, False)])
def test_a_number_of_the_text_is_met_within_a_factor(found, is_near):
    assert evidence.is_near(found, 50, 50) == is_near


def _rows(directory: str, columns: str) -> list[tuple]:
    with contextlib.closing(connected(evidence.RESULTS / directory / "results-1of1.sqlite.gz")) as file:
        return file.execute(f"SELECT {columns} FROM rows WHERE phase = 'final'").fetchall()


def test_figure4_counts_means_over_seeds_as_the_paper_averages():
    times = defaultdict(list)
    for depth, size, epochs in _rows("figure2-mnist", "depth, batch_size, epochs_to_target"):
        times[depth, size].append(math.inf if epochs is None else epochs)
    means = {key: np.mean(found) for key, found in times.items()}
    pairs = [(means[a, size], means[b, size]) for a, size in means for b in range(a + 1, 11)]
    told = [wide < deep for wide, deep in pairs if wide != deep]
    assert f"MNIST: the wider needs fewer epochs in {sum(told)} of {len(told)}" in claims._figure4().ours
    assert means == pytest.approx(evidence.means(evidence.MNIST))


def test_rank_correlations_are_spearmans_with_an_interval_about_them():
    x, y = [1, 2, 3, 4, 5, 6.0], [2, 1, 4, 3, math.inf, 5]
    found = ranks.ranked(x, y)
    assert found.rank == pytest.approx(stats.spearmanr(x, y)[0])
    assert found.interval[0] < found.rank < found.interval[1] < 1
    flipped = ranks.ranked(x, [-value for value in y])
    assert flipped.rank == pytest.approx(-found.rank)
    assert flipped.probability == pytest.approx(1 - found.probability)


def test_averages_along_runs_are_those_of_the_rows():
    """At B = 256: most runs are shorter than the ten epochs between two measurements, and have the first alone."""
    with contextlib.closing(connected(evidence.RESULTS / "figure2" / "results-1of1.sqlite.gz")) as file:
        found = file.execute(
            "SELECT r.depth, r.key, avg(e.batch_size_bound) FROM rows r JOIN evaluations e ON e.trial = r.key "
            "WHERE r.phase = 'final' AND r.batch_size = 256 AND r.outcome != 'diverged' GROUP BY r.depth, r.key"
        ).fetchall()
    along = [np.median([mean for depth, _, mean in found if depth == L]) for L in range(1, 11)]
    assert ranks.averaged(evidence.LINEAR, 256) == pytest.approx(along)


def test_figure2_does_not_hold_whole_while_averages_at_large_batches_say_the_opposite():
    assert ranks.ranked(ranks.averaged(evidence.LINEAR, 4096), range(10, 0, -1)).verdict == FAILS
    of = {one.id: one.answer().verdict for one in evidence.CLAIMS}
    assert {of[f"Fig 2{panel}"] for panel in "ac"} == {IN_PART}


@pytest.mark.parametrize(("value", "verdict"), [(0.3, HOLDS), (-0.3, FAILS), (0.1, UNDECIDED), (-0.1, UNDECIDED)])
def test_held_out_error_can_fall_too(value, verdict):
    assert held_out._costs(held_out.Slope(value, 0.2)) == verdict


def test_a_cell_of_which_some_arrived_says_how_many():
    lost = [cell for cell in evidence.cell_of(evidence.MNIST).values() if 0 < cell.reached < cell.num_seeds]
    assert lost
    for cell in lost:
        text = evidence.epochs(evidence.MNIST, cell.depth, cell.batch_size)
        assert text.endswith(f"({cell.reached} of 5 arrived)")
