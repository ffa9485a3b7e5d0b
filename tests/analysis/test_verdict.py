"""Who takes the larger batch: decisions, sentences, conditions, findings."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

import batchscope as bs
from batchscope.analysis import compare, correlate_diversity, findings, sweeps_of
from batchscope.analysis.findings import correlate, fisher_interval
from batchscope.analysis.fit.critical_batch import fit_sweep
from batchscope.errors import InputError

SIZES = [2**k for k in range(5, 12)]
WIDE = {"shape": "784-20-10 relu", "depth": 1, "width": 20, "num_weights": 15880}
DEEP = {"shape": "784-17x10-10 relu", "depth": 10, "width": 17, "num_weights": 16099}


@pytest.fixture
def study(rows):
    """Rows of two shapes whose epochs double at the given critical batch sizes, five seeds with 10 % spread."""

    def make(wide=1000.0, deep=100.0, seed=0, spread=0.1, cells=SIZES, deep_start=5.0):
        rng = np.random.default_rng(seed)

        def table(start, b_crit):
            return {B: (start * (1 + B / b_crit) * np.exp(spread * rng.standard_normal(5))).tolist() for B in cells}

        fine = {"evaluations_per_epoch": 20, "max_epochs": 10_000, "num_examples": 2**17}
        return rows(table(5.0, wide), **WIDE, **fine) + rows(table(deep_start, deep), **DEEP, **fine)

    return make


def test_a_clear_difference_is_decided_and_said_in_one_sentence(study):
    verdict = bs.compare(study(), "wide", "deep", "b_crit")
    assert verdict.decision == "wide"
    assert verdict.probability >= 0.95
    assert verdict.ratio > 2
    assert verdict.ratio_interval[0] <= verdict.ratio <= verdict.ratio_interval[1]
    for part in (
        "wide (784-20-10 relu) takes a larger batch than deep (784-17x10-10 relu): probability ",
        f"wide {verdict.first.text} {verdict.first.interval_text}, deep {verdict.second.text}",
        "b_crit: the batch size at which the target takes twice the fewest steps",
        "at equal parameters: 15880 and 16099 weights",
        "95 % bootstrap, n = 70 runs",
    ):
        assert part in verdict.sentence
    assert json.loads(json.dumps(verdict.as_dict(), allow_nan=False))["sentence"] == str(verdict)


@pytest.mark.parametrize("definition", ["paper2018", "overhead_20", "b_crit", "within_epochs(12)"])
def test_swapping_the_shapes_swaps_the_verdict(study, definition):
    rows = study()
    one, other = compare(rows, "wide", "deep", definition), compare(rows, "deep", "wide", definition)
    assert one.decision == other.decision == "wide"
    assert other.probability == pytest.approx(1 - one.probability, abs=0.05)
    assert other.sentence.startswith("wide (784-20-10 relu) takes a larger batch than deep")


def test_no_difference_is_rarely_decided(study):
    decided = sum(compare(study(300, 300, seed=k), definition="overhead_20").decision != "undecided" for k in range(60))
    assert decided / 60 <= 0.10 + 3 * math.sqrt(0.1 * 0.9 / 60)
    sentence = compare(study(300, 300), definition="overhead_20").sentence
    assert sentence.startswith("Undecided whether wide")
    assert "probability 0." in sentence


@pytest.mark.parametrize("runs", [2, 3, 5])
def test_no_verdict_is_certain_and_two_seeds_show_what_they_can(rows, runs):
    def table(b_crit):
        return {B: [5.0 * (1 + B / b_crit)] * runs for B in SIZES}  # seeds that agree: the resamples all say one thing

    both = rows(table(1000), **WIDE) + rows(table(100), **DEEP)
    verdict, swapped = compare(both), compare(both, "deep", "wide")
    assert 0.95 <= verdict.probability < 1
    assert verdict.decision == swapped.decision == "wide"
    assert 0 < swapped.probability <= 0.05
    assert "1.00" not in verdict.sentence


def test_many_comparisons_are_decided_at_a_level_that_allows_for_them(study):
    rows = study(450, 300)
    alone = compare(rows, definition="b_crit")
    assert 0.95 <= alone.probability < 0.9999
    assert alone.decision == "wide"
    assert compare(rows, definition="b_crit", comparisons=1000).decision == "undecided"


def test_both_beyond_the_sweep_is_undecided_with_a_tie(study):
    verdict = compare(study(1e6, 1e7, spread=0.01))
    assert (verdict.decision, verdict.probability, verdict.tie) == ("undecided", 0.5, 1.0)
    assert "> 2048" in verdict.sentence
    assert math.isnan(verdict.ratio)
    assert verdict.ratio_interval == (0.0, math.inf)


def test_one_beyond_the_sweep_wins(study):
    verdict = compare(study(1e6, 100.0))
    assert verdict.decision == "wide"
    assert verdict.first.censored == ">"


def test_only_batch_sizes_that_both_ran_count(study):
    rows = [row for row in study() if row.depth == 1 or row.batch_size in (32, 64, 128)]
    verdict = compare(rows)
    assert verdict.first.largest == verdict.second.largest == 128


def test_equal_steps_asks_for_the_smaller_batch_and_equal_flops_for_the_larger(study):
    rows = study()
    steps = compare(rows, equal="steps")
    assert steps.decision == "wide"
    assert steps.first.value < steps.second.value
    assert "needs a smaller batch than" in steps.sentence
    assert "at equal update steps" in steps.condition
    flops = compare(rows, equal="flops", budget=6 * 16_000 * 2**17 * 10)
    assert flops.decision == "wide"
    assert "training FLOPs" in flops.sentence
    # 10 epochs of 5 (1 + B/1000): B = 1000
    assert flops.first.value == pytest.approx(1000, rel=0.15)


def test_a_shape_that_costs_more_at_every_batch_size_loses_at_equal_steps_though_not_in_threshold(study):
    rows = study(300, 300, deep_start=15.0, spread=0.03)
    assert compare(rows, definition="overhead_20").decision == "undecided"
    assert compare(rows, equal="steps").decision == "wide"
    assert compare(rows, equal="flops").decision == "wide"


def test_shapes_are_drawn_apart_from_distributions_that_no_seed_changes(study):
    """B_crit's draws are the same shares of its confidence distribution, in an order of their own."""
    sweep = sweeps_of(study(300, 300))[WIDE["shape"]]
    first, second = (fit_sweep(sweep, resamples=500, stream=k) for k in (0, 1))
    assert first.interval == second.interval
    ratios = [np.diff(fit.samples[:, :2], axis=1)[:, 0] for fit in (first, second)]
    np.testing.assert_allclose(np.sort(ratios[0]), np.sort(ratios[1]), atol=1e-9)
    assert abs(np.corrcoef(*ratios)[0, 1]) < 0.15
    verdict = compare(study(300, 300), definition="within_epochs(10)")
    assert abs(np.corrcoef(verdict.first.samples, verdict.second.samples)[0, 1]) < 0.15


def test_unequal_parameters_are_shouted(study):
    def told(**counts):
        return compare([replace(row, **counts) if row.depth == 10 else row for row in study()]).sentence

    total = study()[0].num_parameters
    assert "NOT at equal parameters: 15880 and 431080 weights" in told(num_weights=431_080, num_parameters=431_500)
    assert f"; at equal parameters: {total} and {total + 1} parameters" in told(
        num_weights=17_000, num_parameters=total + 1
    )


def test_one_seed_gives_no_probability(study):
    verdict = compare([row for row in study() if row.seed == 0], definition="paper2018")
    assert verdict.decision == "undecided"
    assert "no probability can be given" in verdict.sentence
    assert "one run per batch size" in verdict.sentence


@pytest.mark.parametrize("table", [None, {32: [5.0]}, {32: [None, None]}, {32: ["diverged"]}, {32: ["crashed"]}])
def test_without_two_shapes_there_is_a_sentence_all_the_same(rows, table):
    verdict = compare(rows(table) if table else [])
    assert verdict.decision == "undecided"
    assert "a comparison needs two" in verdict.sentence
    assert len(findings(rows(table) if table else [])) == 5


def test_runs_that_never_arrive_are_undecided(rows):
    lost = {B: [None, "diverged"] for B in SIZES}
    for equal in ("parameters", "steps", "flops"):
        verdict = compare(rows(lost, **WIDE) + rows(lost, **DEEP), equal=equal)
        assert verdict.decision == "undecided"


def test_wrong_names_are_refused(study):
    with pytest.raises(InputError, match="did you mean 'wide'"):
        compare(study(), "wid", "deep")
    with pytest.raises(InputError, match="same shape"):
        compare(study(), "wide", "784-20-10 relu")
    with pytest.raises(InputError, match="did you mean 'steps'"):
        compare(study(), equal="step")


def with_bounds(rows, bounds):
    """B_S of every run from its depth, 5 % apart between seeds."""
    return [replace(row, batch_size_bound=bounds[row.depth] * (1 + 0.05 * row.seed)) for row in rows]


def test_the_findings_of_the_paper(study):
    supported = findings(with_bounds(study(), {1: 40.0, 10: 10.0}), "b_crit")
    assert [finding.name for finding in supported] == ["F0", "F1", "F2", "Figure 2(a)", "Figure 2(c)"]
    assert [finding.decision for finding in supported] == [*["supported"] * 4, "undecided"]
    assert "too few shapes for an interval" in supported[4].sentence
    assert "Undecided: whether" in findings(study(300, 300), "b_crit")[1].sentence
    against = findings(with_bounds(study(100.0, 1000.0), {1: 10.0, 10: 40.0}), "b_crit")
    assert [finding.decision for finding in against[:4]] == ["supported", *["contradicted"] * 3]
    json.dumps([finding.as_dict() for finding in supported + against], allow_nan=False)


def test_diversity_goes_with_the_threshold_over_shapes(rows):
    rng = np.random.default_rng(1)
    everything = []
    for depth, b_crit in enumerate((1500, 900, 500, 300, 200, 120), start=1):
        table = {B: (5 * (1 + B / b_crit) * np.exp(0.02 * rng.standard_normal(5))).tolist() for B in SIZES}
        some = rows(table, shape=f"s{depth}", depth=depth, evaluations_per_epoch=50, max_epochs=10_000)
        everything += with_bounds(some, {depth: b_crit / 10})
    result = correlate_diversity(everything, "b_crit")
    assert (result.n, result.n_pearson) == (6, 6)
    assert result.rank == 1.0
    assert result.probability == pytest.approx(1 - 1 / 720)
    assert result.pearson == pytest.approx(1.0, abs=0.01)
    assert result.pearson_interval[0] > 0.95
    censored = correlate_diversity(everything, "within_epochs(6)")
    assert censored.n == 6
    assert censored.rank == 1.0


def test_fishers_interval_holds_the_truth_at_its_level():
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(2000):
        x = rng.standard_normal(10)
        y = 0.6 * x + 0.8 * rng.standard_normal(10)
        (low, high), _ = fisher_interval(float(np.corrcoef(x, y)[0, 1]), 10, 1.0, 0.95)
        hits += low <= 0.6 <= high
    assert hits / 2000 == pytest.approx(0.95, abs=3 * math.sqrt(0.95 * 0.05 / 2000))


def test_no_shapes_no_correlation():
    empty = correlate({}, {})
    assert empty.n == 0
    assert math.isnan(empty.rank)
    json.dumps(empty.as_dict(), allow_nan=False)
