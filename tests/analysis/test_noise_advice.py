"""What a noise scale says of a batch size, and schedules: against the formulas and by their properties."""

import math
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchscope import BatchRule, schedule
from batchscope.analysis.noise_advice import extra_examples, fewer_steps, hint, room_to_grow, warning
from batchscope.errors import InputError
from batchscope.theory.mccandlish2018 import examples_to_target, steps_to_target

sizes = st.floats(1, 1e6)


def noise(value, low=math.nan, high=math.nan, first=0, last=9):
    return SimpleNamespace(value=value, low=low, high=high, first=first, last=last)


@given(sizes, st.floats(1, 100), sizes)
def test_costs_are_those_of_the_model_whatever_its_scale(size, factor, scale):
    larger = size * factor
    ratio = examples_to_target(larger, 7.0, scale) / examples_to_target(size, 7.0, scale)
    assert extra_examples(size, larger, scale) == pytest.approx(ratio - 1, abs=1e-9)
    steps = steps_to_target(larger, 7.0, scale) / steps_to_target(size, 7.0, scale)
    assert fewer_steps(size, larger, scale) == pytest.approx(1 - steps, abs=1e-9)
    assert extra_examples(size, larger, math.inf) == 0
    assert fewer_steps(size, larger, math.inf) == pytest.approx(1 - 1 / factor)


@given(sizes, sizes, st.floats(1, 10), st.floats(0.01, 2))
def test_a_batch_may_grow_exactly_as_far_as_the_low_end_allows(size, low, spread, most):
    window = noise(low * math.sqrt(spread), low, low * spread)
    factor = room_to_grow(size, window, most)
    assert factor == 1 or extra_examples(size, factor * size, low) <= most
    assert extra_examples(size, 2 * factor * size, low) > most or factor == 2**20
    assert (hint(size, window, most) is None) == (factor == 1)


def test_hints_and_warnings_say_only_what_the_interval_supports():
    assert "4x larger costs at most 29 % more examples and at least 68 % fewer" in hint(
        64, noise(math.nan, 600, math.inf)
    )
    assert hint(64, noise(900.0)) is None  # no interval, no advice
    assert warning(4096, noise(900.0)) is None
    assert warning(3000, noise(900.0, 600.0, 1500.0)) is None  # exactly twice the high end
    text = warning(3001, noise(900.0, 600.0, 1500.0))
    assert "batch 3001 is more than 2 times the noise scale 900 [600, 1500]: examples cost 4.33 times" in text
    assert warning(1e9, noise(math.nan, 600.0, math.inf)) is None


@given(sizes, st.floats(1, 1000), st.integers(1, 64))
def test_accumulation_is_the_power_of_two_below_the_rule_and_never_falls_unless_asked(scale, micro, current):
    window = noise(scale, scale / 2, scale * 2)
    free = BatchRule(only_grow=False).accumulation(window, micro, current)
    assert free == 1 or free * micro <= scale * (1 + 1e-6) < 2 * free * micro * (1 + 1e-6)
    assert BatchRule().accumulation(window, micro, current) == max(free, current)


def test_the_exchange_rule_minimises_the_price_of_progress():
    rate, scale = 300.0, 1200.0
    best = BatchRule(exchange=rate).batch_size(noise(scale))

    def price(size):
        return (size + scale) + rate * (1 + scale / size)

    assert price(best) < min(price(0.99 * best), price(1.01 * best))


def test_a_schedule_is_read_off_windows_and_off_the_csv_alike(tmp_path):
    windows = [
        noise(math.nan, math.nan, math.nan, 0, 7), noise(40.0, 30.0, 50.0, 10, 70),
        noise(math.nan, 300.0, math.inf, 80, 150),
        noise(100.0, 90.0, 110.0, 160, 230),
    ]  # fmt: skip
    plan = schedule(windows, micro_batch=8)
    assert [(one.first, one.accumulation) for one in plan.stretches] == [(10, 4), (80, 32), (160, 32)]
    assert [plan.accumulation_at(step) for step in (0, 10, 79, 80, 10**6)] == [4, 4, 4, 32, 32]
    assert [one.accumulation for one in schedule(windows, 8, only_grow=False).stretches] == [4, 32, 8]
    first = plan.stretches[0]
    assert (first.extra_examples, first.extra_steps) == pytest.approx((32 / 40, 40 / 32))
    assert first.step_size == pytest.approx(1 / (1 + 40 / 32))
    assert "at least 300" in str(plan)
    assert "McCandlish et al. 2018" in str(plan)
    lines = ["step,window_first,window_last,noise_scale,low,high", "0,,,,,", "10,10,70,40,30,50", "80,80,150,,300,"]
    (tmp_path / "noise.csv").write_text("\n".join(lines))
    read = schedule(tmp_path / "noise.csv", micro_batch=8)
    assert [(one.first, one.accumulation) for one in read.stretches] == [(10, 4), (80, 32)]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: schedule([], 8), "no window"),
        (lambda: schedule([noise(3.0)], 0), "micro_batch = 0"),
        (lambda: schedule(3, 8), "observed is a int"),
        (lambda: schedule("nowhere.csv", 8), "nowhere.csv cannot be read"),
        (lambda: BatchRule(share=0), "share = 0"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
