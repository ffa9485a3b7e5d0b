"""Thresholds by hand, and what must hold for any study."""

import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchscope.analysis import batch_threshold, sweeps_of
from batchscope.analysis.definitions import DEFINITIONS, parse_definition
from batchscope.analysis.sweeps import Sweep
from batchscope.analysis.thresholds import estimate
from batchscope.errors import InputError

SIZES = [32, 64, 128, 256, 512]


def sweep_of(epochs, seeds=1, resolution=0.01, batch_sizes=None, max_epochs=1e9):
    """A sweep with the same epochs for every seed; inf: never."""
    sizes = np.array(SIZES[: len(epochs)] if batch_sizes is None else batch_sizes, float)
    runs = np.repeat(np.asarray(epochs, float), seeds)
    n, cell = 4096, np.repeat(np.arange(len(sizes)), seeds)
    steps = runs * n / sizes[cell]
    return Sweep(
        "net", 1, 20, 1000, 1000, n, "train accuracy 0.96", max_epochs, resolution, sizes, cell, runs, steps,
        np.where(np.isfinite(steps), steps, 0) * (1 - 1e-9), np.isfinite(runs), np.zeros(len(runs), bool),
        np.full(len(runs), np.nan), *np.empty((2, len(runs), 0)), 0,
    )  # fmt: skip


def noisy_sweep(table):
    """A sweep from [m, seeds] epochs, checked often."""
    m, seeds = table.shape
    plain = sweep_of(np.ones(m), seeds, batch_sizes=32 * 2.0 ** np.arange(m))
    runs = table.ravel()
    steps = runs * plain.num_examples / plain.batch_sizes[plain.cell]
    return replace(plain, epochs=runs, steps=steps, steps_before=steps * (1 - 1e-3))


def text(epochs, definition="paper2018", **options):
    return estimate(sweep_of(epochs, **options), definition).text


class TestPaper2018:
    def test_the_last_batch_size_before_the_slow_down(self):
        assert text([5, 5, 5.5, 7, 9]) == "128"

    def test_the_best_smaller_batch_is_the_reference(self):
        assert text([5, 3, 3.5, 5, 5]) == "128"

    def test_drifting_up_within_tolerance_of_the_neighbour_is_a_slow_down_all_the_same(self):
        assert text([5, 5.8, 6.7, 7.7, 8.9]) == "64"

    def test_checks_too_rare_to_show_a_slow_down_are_refused_with_the_remedy(self):
        result = estimate(sweep_of([2, 3, 3, 6, 9], resolution=1.0))
        assert (result.text, result.n) == ("none", 5)
        assert "more than 20 % of the 2 epochs" in result.statement
        assert "evaluations_per_epoch = 3 would do" in result.statement

    def test_a_slow_down_at_once_leaves_the_limit_at_or_below_the_smallest(self):
        result = estimate(sweep_of([5, 9, 18, 36], seeds=3))
        assert (result.text, result.censored, result.ordering) == ("<= 32", "<", 0.0)

    def test_noise_on_a_flat_curve_is_no_slow_down(self):
        rng = np.random.default_rng(5)
        found = [estimate(noisy_sweep(rng.lognormal(math.log(9), 0.2, (8, 5)))).ordering == math.inf for _ in range(60)]
        assert np.mean(found) >= 0.9

    def test_beyond_the_sweep(self):
        result = estimate(sweep_of([5, 5, 5]))
        assert (result.text, result.censored, result.limit) == ("> 128", ">", 128)
        assert math.isnan(result.value)
        assert result.ordering == math.inf

    def test_a_batch_size_that_never_arrives_is_too_large(self):
        assert text([5, 5, math.inf, 5]) == "64"

    def test_small_batch_sizes_that_never_arrive_are_no_reference(self):
        assert text([math.inf, 5, 5, 9]) == "128"

    def test_its_tolerance_is_a_choice(self):
        assert text([5, 5, 5.5, 7, 9], definition="paper2018(0.05)") == "64"
        assert "5 %" in estimate(sweep_of([5, 5]), "paper2018(0.05)").meaning


class TestWithinEpochs:
    def test_interpolates_in_log_log(self):
        result = estimate(sweep_of([2, 4, 16]), "within_epochs(8)")
        assert result.value == pytest.approx(64 * math.sqrt(2))

    def test_takes_the_largest_that_arrives_in_time_whatever_smaller_ones_do(self):
        assert text([9, 2, 9, 2, 8], definition="within_epochs(2)") == "256"

    def test_censored_on_both_sides(self):
        assert text([2, 2, 2], definition="within_epochs(2)") == "> 128"
        assert text([2, 2, 2], definition="within_epochs(1)") == "<= 32"
        assert text([math.inf] * 2, definition="within_epochs(10)") == "<= 32"

    def test_stops_at_the_tested_batch_size_where_the_next_never_arrives(self):
        assert text([2, 2, math.inf], definition="within_epochs(3)") == "64"

    def test_more_epochs_than_the_runs_were_given_say_nothing(self):
        result = estimate(sweep_of([2, 2, math.inf], max_epochs=100), "within_epochs(200)")
        assert result.text == "none"
        assert "stopped after 100 epochs" in result.statement


class TestOthers:
    @pytest.mark.parametrize("definition", ["paper2018", "overhead_20", "b_crit"])
    def test_a_threshold_below_the_sweep_is_no_number(self, definition):
        result = estimate(sweep_of(1 + np.array(SIZES) / 2, seeds=2), definition)
        assert (result.text, result.censored, result.interval[0]) == ("<= 32", "<", 0.0)

    @pytest.mark.parametrize("definition", ["paper2018", "overhead_20"])
    def test_noise_is_no_slow_down(self, definition):
        result = estimate(sweep_of([5, 5.5, 4.2, 6.2, 5.1], seeds=2), definition)
        assert (result.text, result.ordering, result.interval[1]) == ("> 512", math.inf, math.inf)
        assert "no slow-down seen" in result.statement

    def test_overhead_is_against_linear_scaling(self):
        result = estimate(sweep_of([5, 5, 5, 7.2], resolution=1e-9), "overhead_20")
        assert result.value == pytest.approx(2 ** (7 + math.log(1.2) / math.log(1.44)))

    def test_overhead_averages_noise_instead_of_taking_the_best_batch_size(self):
        assert text([5, 4.8, 5.1, 4.9, 5.2], definition="overhead_20", resolution=1e-9) == "> 512"

    def test_overhead_says_when_the_checks_are_too_coarse(self):
        assert "evaluations_per_epoch" in estimate(sweep_of([2, 2, 4], resolution=1.0), "overhead_20").statement

    def test_steps_and_flops(self):
        sweep = sweep_of([4, 4, 8])  # steps 512, 256, 256; FLOPs 6 * 1000 * 4096 an epoch
        assert estimate(sweep, "within_steps(362.0386719675124)").value == pytest.approx(32 * math.sqrt(2))
        assert estimate(sweep, "within_steps(100)").text == "> 128"
        assert estimate(sweep, "within_steps(1000)").text == "<= 32"
        per_epoch = 6 * 1000 * 4096
        assert estimate(sweep, f"within_flops({4 * per_epoch})").text == "64"

    def test_b_crit_is_censored_outside_the_sweep_and_says_what_the_curve_gives(self):
        sizes = np.array(SIZES)
        inside, outside = (estimate(sweep_of(1 + sizes / b_crit), "b_crit") for b_crit in (100, 2000))
        assert inside.value == pytest.approx(100, rel=0.02)
        assert outside.text == "> 512"
        assert re.search(r"extrapolates to (19[5-9]\d|20[0-4]\d)$", outside.statement)

    def test_b_crit_says_which_batch_sizes_below_it_it_leaves_out(self, rows):
        epochs = {size: [1 + size / 500 + 0.01 * seed for seed in range(5)] for size in (32, 64, 256, 1024)}
        kept, lost = ["diverged", 1.2, 1.25, 1.3, 1.35], ["diverged"] * 5
        (whole,) = batch_threshold(rows(epochs | {128: kept, 4096: lost}), "b_crit").values()
        assert 128 < whole.value < 4096
        assert "every run diverged" not in whole.statement  # some arrived at 128, and 4096 is beyond the answer
        (part,) = batch_threshold(rows(epochs | {128: lost, 4096: lost}), "b_crit").values()
        assert "every run diverged at batch size 128, below it, of which it says nothing" in part.statement
        (part,) = batch_threshold(rows(epochs | {128: lost, 16: lost}), "b_crit").values()
        assert "every run diverged at batch sizes 16, 128, below it" in part.statement

    def test_mean_diversity_averages_batch_sizes_equally_without_diverged_runs(self, rows):
        runs = rows({32: [5.0, 5.0, 5.0], 64: [5.0, "diverged"]})
        runs = [replace(run, batch_size_bound=bound) for run, bound in zip(runs, [10, 20, 30, 40, 9e9], strict=True)]
        result = batch_threshold(runs, "mean_diversity", "net")
        assert (result.value, result.n, result.num_batch_sizes) == (30.0, 4, 2)
        assert (
            batch_threshold(rows({32: [5.0]}), "mean_diversity", "net").statement
            == "gradient diversity was not measured, or at no epoch that all share"
        )


@pytest.mark.parametrize("definition", ["paper2018", "within_epochs(7)", "overhead_20", "b_crit", "within_steps(99)"])
class TestAnyStudy:
    def test_works_on_nothing_on_one_run_and_on_runs_that_never_arrive(self, rows, definition):
        assert batch_threshold([], definition) == {}
        for table in ({32: [5.0]}, {32: [None], 64: [None]}, {32: ["diverged"] * 3}, {32: ["crashed"]}):
            result = batch_threshold(rows(table), definition, "net")
            assert math.isnan(result.value)
            assert result.censored or result.statement
            assert json.loads(json.dumps(result.as_dict(), allow_nan=False))["shape"] == "net"
            assert str(result).startswith("net: ")

    def test_the_order_of_rows_does_not_matter(self, rows, definition):
        rng = np.random.default_rng(0)
        some = rows({B: (5 * (1 + B / 300) * np.exp(0.1 * rng.standard_normal(5))).tolist() for B in SIZES})
        first = batch_threshold(some, definition, "net")
        shuffled = [some[k] for k in rng.permutation(len(some))]
        second = batch_threshold(shuffled, definition, "net")
        assert (first.text, first.interval) == (second.text, second.interval)
        assert first.n == 25

    def test_one_run_per_batch_size_gives_no_seed_interval(self, rows, definition):
        result = batch_threshold(rows({B: [5 * (1 + B / 300)] for B in SIZES}), definition, "net")
        assert not math.isnan(result.ordering)
        if definition != "b_crit":
            assert math.isnan(result.interval[0])
            assert "one run per batch size" in result.statement


epochs_of_sweep = st.lists(st.floats(1, 50), min_size=5, max_size=5)


@given(epochs_of_sweep, st.sampled_from([0.25, 2.0, 8.0]))
def test_thresholds_do_not_change_with_the_unit_of_epochs(epochs, factor):
    for name, unit in (("paper2018", factor), ("overhead_20", factor), ("within_epochs({})", factor)):
        one = estimate(sweep_of(epochs, resolution=0.25), name.format(7.0))
        other = estimate(sweep_of(np.array(epochs) * unit, resolution=0.25 * unit), name.format(7.0 * unit))
        assert one.censored == other.censored
        np.testing.assert_allclose(one.value, other.value, rtol=1e-6)


@given(epochs_of_sweep, st.integers(0, 4), st.floats(1, 10))
def test_a_slower_batch_size_never_raises_the_threshold(epochs, index, factor):
    slower = np.array(epochs)
    slower[index] *= factor
    before, after = (estimate(sweep_of(values), "within_epochs(10)").ordering for values in (epochs, slower))
    assert after <= before * (1 + 1e-9)


@given(epochs_of_sweep, st.floats(1, 50))
def test_stopping_runs_earlier_never_raises_the_threshold_of_a_rising_curve(epochs, stop):
    rising = np.sort(epochs)
    stopped = np.where(rising <= max(stop, rising[0]), rising, np.inf)
    before, after = (estimate(sweep_of(values)).ordering for values in (rising, stopped))
    assert after <= before


@given(st.integers(0, 10_000))
def test_more_epochs_allow_batches_at_least_as_large(seed):
    epochs = np.random.default_rng(seed).uniform(1, 20, 5)
    values = [estimate(sweep_of(epochs), f"within_epochs({limit})").ordering for limit in (2, 5, 9, 14, 21)]
    assert values == sorted(values)


def test_every_definition_has_words_and_a_source_of_its_number():
    for name, definition in DEFINITIONS.items():
        assert "{" not in definition.meaning.format(number=1.0, percent=1.0), name
        if definition.needs:
            assert parse_definition(f"{name}(7)") == (name, 7.0)


@pytest.mark.parametrize(
    ("wrong", "remedy"),
    [
        ("paper2081", "did you mean 'paper2018'"),
        ("within_epochs", r"expected 'within_epochs\(NUMBER\)'"),
        ("within_epochs(x)", "expected a number of epochs above 0"),
        ("within_epochs(-1)", "above 0"),
        ("b_crit(3)", "expected no number"),
        ("paper2018(", "expected a name"),
    ],
)
def test_wrong_definitions_are_named_with_the_remedy(rows, wrong, remedy):
    with pytest.raises(InputError, match=remedy):
        batch_threshold(rows({32: [5.0]}), wrong)


@pytest.mark.parametrize("own_error", [0.0, 0.15])
def test_intervals_hold_the_truth_also_where_a_batch_size_has_an_error_of_its_own(own_error):
    """At least 92 % of 150 studies, five seeds of 10 % spread, less three standard errors."""
    sizes = 2.0 ** np.arange(5, 13)
    truth = {"overhead_20": 400 * (1.2 * (1 + 32 / 400) - 1), "within_epochs(30)": 800.0}
    rng = np.random.default_rng(0)
    hits = dict.fromkeys(truth, 0)
    for study in range(150):
        noise = own_error * rng.standard_normal((8, 1)) + 0.1 * rng.standard_normal((8, 5))
        sweep = noisy_sweep(10 * (1 + sizes[:, None] / 400) * np.exp(noise))
        for name, value in truth.items():
            low, high = estimate(sweep, name, resamples=400, seed=study).interval
            hits[name] += low <= value <= high
    for name, count in hits.items():
        assert count / 150 > 0.92 - 3 * math.sqrt(0.92 * 0.08 / 150), name


def test_sweeps_can_be_given_instead_of_rows(rows):
    some = rows({B: [5.0, 6.0] for B in SIZES})
    assert batch_threshold(sweeps_of(some)) == batch_threshold(some)
