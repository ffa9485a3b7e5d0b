"""Time per step: formulas by hand, units, invariances, limits; saving and loading."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchscope.errors import InputError
from batchscope.scaling import TimeModel, synchronising
from batchscope.scaling.synchronising import combine
from batchscope.scaling.time_model import rate
from tests.scaling.common import MODEL

SIZE, BANDWIDTH, LATENCY = 5_200_084, 7.3e8, 4.1e-5
POSITIVE = st.floats(1e-6, 1e6)


def ring_by_hand(workers: int) -> float:
    """Round by round: P-1 rounds of reduce-scatter and P-1 of all-gather, each with a P-th of the gradient."""
    return sum(LATENCY + SIZE / workers / BANDWIDTH for _phase in range(2) for _round in range(workers - 1))


def tree_by_hand(workers: int) -> float:
    """Halve the number of holders until one has the sum, then double it again."""
    holders, total = workers, 0.0
    while holders > 1:
        total += 2 * (LATENCY + SIZE / BANDWIDTH)
        holders = (holders + 1) // 2
    return total


def server_by_hand(workers: int) -> float:
    """P gradients in and P models out through the one link of the server."""
    return 0.0 if workers == 1 else sum(SIZE / BANDWIDTH for _direction in range(2) for _worker in range(workers))


@pytest.mark.parametrize(
    ("pattern", "by_hand"), [("ring", ring_by_hand), ("tree", tree_by_hand), ("parameter_server", server_by_hand)]
)
def test_exchange_counted_message_by_message(pattern, by_hand):
    workers = np.arange(1, 71)
    expected = [by_hand(int(count)) for count in workers]
    got = synchronising.seconds(pattern, workers, SIZE, BANDWIDTH, LATENCY)
    assert got == pytest.approx(expected, rel=1e-12)


@given(POSITIVE, POSITIVE, st.floats(1, 12))
def test_a_step_lies_between_the_longer_part_and_the_sum(computing, exchanging, overlap):
    total = float(combine(np.float64(computing), np.float64(exchanging), overlap))
    assert max(computing, exchanging) * (1 - 1e-12) <= total <= (computing + exchanging) * (1 + 1e-12)
    assert total == pytest.approx((computing**overlap + exchanging**overlap) ** (1 / overlap), rel=1e-9)


def test_more_overlap_is_never_slower_and_ends_in_the_maximum():
    steps = [float(replace(MODEL, overlap=overlap).step(509, 7)) for overlap in (1, 1.5, 2, 5, 10, 200)]
    assert steps == sorted(steps, reverse=True)
    longer = max(float(MODEL.computing(509 / 7)), float(MODEL.exchanging(7)))
    assert steps[-1] == pytest.approx(longer, rel=0.01)


def test_units_halving_bandwidth_is_doubling_bytes_and_time_scales():
    """Seconds measured in another unit give every time in that unit; N s / W is all that N, s and W enter by."""
    doubled = replace(MODEL, bytes_per_parameter=8)
    assert doubled.step(211, 5) == pytest.approx(replace(MODEL, bandwidth=MODEL.bandwidth / 2).step(211, 5))
    for overlap in (1.0, 2.3):
        model = replace(MODEL, overlap=overlap)
        in_ms = replace(
            model,
            overhead=model.overhead * 1e3,
            per_example=model.per_example * 1e3,
            latency=model.latency * 1e3,
            bandwidth=model.bandwidth / 1e3,
        )
        assert in_ms.step(211, [1, 5, 64]) == pytest.approx(1e3 * model.step(211, [1, 5, 64]), rel=1e-12)


def test_one_worker_computes_and_exchanges_nothing():
    for pattern in synchronising.PATTERNS:
        assert replace(MODEL, pattern=pattern).step(97, 1) == pytest.approx(0.0031 + 97 * 1.7e-4, rel=1e-12)


def test_saved_and_loaded_the_same(tmp_path):
    for model in (MODEL, replace(MODEL, bandwidth=math.inf, max_local_batch=311, held_out_error=0.07, pattern="tree")):
        model.save(tmp_path / "model.json")
        text = (tmp_path / "model.json").read_text()
        assert "NaN" not in text
        assert "Infinity" not in text
        again = TimeModel.load(tmp_path / "model.json")
        assert str(again) == str(model)
        assert again.as_dict() == model.as_dict()


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({}, "needs the fields overhead"),
        ([1], "needs the fields overhead"),
        ({"overhead": 1, "per_example": 1, "num_parameters": 3, "latenzy": 1}, "did you mean 'latency'"),
        ({"overhead": "1", "per_example": 1, "num_parameters": 3}, "expected a number"),
        ({"overhead": 1, "per_example": 0, "num_parameters": 3}, "per_example = 0"),
        ({"overhead": 1, "per_example": 1, "num_parameters": 3, "pattern": "rings"}, "did you mean 'ring'"),
        ({"overhead": 1, "per_example": 1, "num_parameters": 3, "overlap": 0.5}, "γ of 1"),
        ({"overhead": math.inf, "per_example": 1, "num_parameters": 3}, "overhead = inf"),
        ({"overhead": 1, "per_example": 1e-300, "num_parameters": 3}, "per_example = 1e-300"),
        ({"overhead": 1, "per_example": 1, "num_parameters": 10**400}, "num_parameters = 1000"),
        ({"overhead": 1, "per_example": 1, "num_parameters": 3, "bandwidth": 1e-300}, "bandwidth = 1e-300"),
        ({"overhead": 1, "per_example": 1, "num_parameters": 3, "latency": 1e300}, r"latency = 1e\+300"),
    ],
)
def test_files_that_are_no_time_models_are_refused_in_words(tmp_path, record, message):
    path = tmp_path / "model.json"
    path.write_text(json.dumps(record))
    with pytest.raises(InputError, match=message):
        TimeModel.load(path)


def test_unreadable_files_are_refused_in_words(tmp_path):
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "deep.json").write_text(100_000 * "[")
    (tmp_path / "binary.json").write_bytes(bytes(range(256)))
    for name in ("broken.json", "deep.json", "binary.json", "missing.json"):
        with pytest.raises(InputError, match=name):
            TimeModel.load(tmp_path / name)


def test_beyond_four_times_the_workers_timed_is_extrapolated():
    assert replace(MODEL, measured_workers=2).is_extrapolated([1, 8, 9]).tolist() == [False, False, True]


def test_rates_in_words():
    assert [rate(1.25e9), rate(3e6), rate(math.inf)] == ["1.25 GB/s", "3 MB/s", "links without limit"]
