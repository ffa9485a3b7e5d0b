"""The Dataset record: what it refuses, its sizes, its subsets; and the standardisation that makes it."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchscope.data.dataset import Dataset, RawData, Standardisation, check_finite
from batchscope.data.standardise import apply, prepare, statistics
from batchscope.errors import DataError, InputError

N, D, CLASSES = 23, 5, 3


def raw(**changes):
    draw = np.random.default_rng(1)
    record = RawData(
        name="toy",
        title="Toy",
        inputs=draw.normal(3.0, 7.0, (N, D)),
        targets=np.arange(N) % CLASSES,
        heldout_inputs=draw.normal(3.0, 7.0, (11, D)),
        heldout_targets=np.arange(11) % CLASSES,
        num_classes=CLASSES,
        source="a test",
        scheme="per_feature",
    )
    return dataclasses.replace(record, **changes)


def test_sizes_and_types():
    dataset = prepare(raw())
    assert (dataset.num_examples, dataset.d_in, dataset.d_out) == (N, D, CLASSES)
    assert dataset.inputs.dtype == np.float32
    assert dataset.targets.dtype == np.int64
    assert str(dataset) == "Toy: 23 + 11 held out, inputs 5, 3 classes"
    images = prepare(
        raw(
            inputs=np.zeros((N, 2, 3, 7)) + np.arange(N)[:, None, None, None],
            heldout_inputs=None,
            heldout_targets=None,
            scheme="per_channel",
        )
    )
    assert images.d_in == 42
    assert images.heldout_inputs is None


def test_regression_has_its_outputs_as_d_out():
    dataset = prepare(raw(num_classes=None, targets=np.ones((N, 2)), heldout_targets=np.ones((11, 2))))
    assert dataset.d_out == 2
    assert dataset.targets.dtype == np.float32


def test_a_dataset_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        prepare(raw()).name = "other"


def with_bad(value, *places):
    inputs = raw().inputs.copy()
    for place in places:
        inputs[place] = value
    return inputs


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"inputs": with_bad(np.nan, (4, 2), (7, 0))},
            r"2 NaN or infinite values, the first \(nan\) at index \(4, 2\)",
        ),
        ({"heldout_inputs": np.full((11, D), np.inf)}, r"held-out part: inputs hold 55 NaN"),
        ({"inputs": np.zeros((0, D)), "targets": np.zeros(0, int)}, "empty"),
        ({"inputs": np.zeros((N, 0))}, "empty"),
        ({"inputs": np.zeros(N)}, r"shape \(23,\); expected \[n, d\]"),
        ({"inputs": np.zeros((N, 2, 3))}, r"shape \(23, 2, 3\); expected"),
        ({"targets": np.zeros(N - 1, int)}, "23 inputs but 22 targets"),
        ({"targets": np.full(N, 3)}, r"labels run from 3 to 3; expected 0 to 2.*index 0"),
        ({"targets": np.arange(N) % CLASSES - 1}, "labels run from -1 to 1; expected 0 to 2"),
        ({"targets": np.zeros(N)}, "labels are float64"),
        ({"num_classes": None}, "regression targets are int64"),
        ({"num_classes": None, "targets": np.full((N, 1), np.nan)}, "targets hold 23 NaN"),
        ({"heldout_inputs": np.zeros((11, D + 1))}, r"shape \(5,\), of the held-out inputs \(6,\)"),
        ({"scheme": "per_chanel"}, "did you mean 'per_channel'"),
    ],
)
def test_unusable_data_is_named(changes, says):
    with pytest.raises((DataError, InputError), match=says):
        prepare(raw(**changes))


def test_huge_but_finite_values_are_accepted():
    check_finite("inputs", np.full((N, D), np.finfo(np.float32).max, np.float32))  # their sum is infinite
    with pytest.raises(DataError, match=r"2 NaN or infinite values, the first \(inf\) at index \(1,\)"):
        check_finite("inputs", np.array([0.0, np.inf, -np.inf]))


def test_half_a_heldout_part_is_refused():
    dataset = prepare(raw())
    with pytest.raises(DataError, match="together"):
        dataclasses.replace(dataset, heldout_targets=None)


@settings(deadline=None)
@given(
    n=st.integers(2, 40),
    offset=st.floats(-1e6, 1e6),
    spread=st.floats(0.1, 1e3),
    scheme=st.sampled_from(["per_channel", "per_feature", "global"]),
)
def test_statistics_equal_numpys_and_inputs_are_standard(n, offset, spread, scheme):
    inputs = np.random.default_rng(n).normal(offset, spread, (n, 3, 5, 2))
    axes = {"per_channel": (0, 2, 3), "per_feature": 0, "global": None}[scheme]
    record = prepare(
        raw(inputs=inputs, targets=np.zeros(n, int), heldout_inputs=None, heldout_targets=None, scheme=scheme)
    )
    mean, std = inputs.mean(axis=axes), inputs.std(axis=axes)
    # Rounding of a mean of values of size |offset| + spread in float64.
    scale = 1e-12 * (abs(offset) + spread)
    np.testing.assert_allclose(record.standardisation.mean, np.ravel(mean), rtol=0, atol=scale)
    np.testing.assert_allclose(record.standardisation.std, np.ravel(std), rtol=1e-6)
    np.testing.assert_allclose(record.inputs.astype(np.float64).mean(axis=axes), 0, atol=1e-4)
    np.testing.assert_allclose(record.inputs.astype(np.float64).std(axis=axes), 1, rtol=1e-4)


def test_statistics_do_not_depend_on_how_the_data_is_cut_into_chunks(monkeypatch):
    whole = statistics(raw())
    monkeypatch.setattr("batchscope.data.standardise._CHUNK_BYTES", 3 * 8 * D)
    np.testing.assert_allclose(statistics(raw()).mean, whole.mean, rtol=1e-14)
    np.testing.assert_allclose(statistics(raw()).std, whole.std, rtol=1e-14)


def test_statistics_come_from_the_training_part_and_serve_both():
    record = raw()
    dataset = prepare(record)
    other = prepare(dataclasses.replace(record, heldout_inputs=record.heldout_inputs * 100))
    assert other.standardisation == dataset.standardisation
    expected = (record.heldout_inputs - record.inputs.mean(axis=0)) / record.inputs.std(axis=0)
    np.testing.assert_allclose(dataset.heldout_inputs, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("constant", [0.0, 0.1, -1e7])
def test_a_constant_feature_becomes_zero_not_nan(constant):
    inputs = raw().inputs.copy()
    inputs[:, 1] = constant
    dataset = prepare(raw(inputs=inputs))
    assert dataset.standardisation.std[1] == 1.0
    assert np.abs(dataset.inputs[:, 1]).max() < 1e-6


def test_bytes_are_standardised_like_their_floats_and_recorded_in_units():
    pixels = np.random.default_rng(3).integers(0, 256, (N, 1, 4, 7), dtype=np.uint8)
    kind = {"heldout_inputs": None, "heldout_targets": None, "scheme": "per_channel"}
    dataset = prepare(raw(inputs=pixels, unit=255.0, **kind))
    np.testing.assert_allclose(dataset.standardisation.mean, [(pixels / 255).mean()], rtol=1e-12)
    np.testing.assert_allclose(dataset.inputs, prepare(raw(inputs=pixels / 255, **kind)).inputs, rtol=1e-5, atol=1e-6)


def test_scheme_none_only_divides_by_the_unit():
    record = Standardisation("none", unit=4.0)
    assert apply(record, np.array([[8, 2]])).tolist() == [[2.0, 0.5]]


def test_the_fingerprint_tells_apart_what_gives_other_numbers():
    same, marks = prepare(raw()).fingerprint, set()
    assert same == prepare(raw()).fingerprint
    assert len(same) == 16
    for changes in (
        {},
        {"inputs": raw().inputs + 1e-9},
        {"targets": (np.arange(N) + 1) % CLASSES},
        {"heldout_inputs": raw().heldout_inputs * 2},
        {"scheme": "global"},
    ):
        marks.add(prepare(raw(**changes)).fingerprint)
    assert len(marks) == 5


def test_subset_is_seeded_nested_and_keeps_pairs_together():
    dataset = prepare(
        raw(
            inputs=np.arange(N * D).reshape(N, D),
            targets=np.arange(N),
            num_classes=N,
            heldout_targets=np.zeros(11, int),
        )
    )
    seven, thirteen = dataset.subset(7, seed=2), dataset.subset(13, seed=2)
    assert seven.num_examples == 7
    assert np.array_equal(thirteen.inputs[:7], seven.inputs)
    assert not np.array_equal(dataset.subset(7, seed=3).targets, seven.targets)
    assert len(set(thirteen.targets.tolist())) == 13
    assert np.array_equal(dataset.inputs[seven.targets], seven.inputs)
    assert len({dataset.fingerprint, seven.fingerprint, thirteen.fingerprint, dataset.subset(7, 3).fingerprint}) == 4
    assert seven.standardisation == dataset.standardisation
    assert "7 of 23" in seven.source
    assert dataset.subset(N, seed=5) is dataset


@pytest.mark.parametrize("size", [0, -1, N + 1])
def test_subsets_that_cannot_be_are_refused(size):
    with pytest.raises(InputError, match="1 to 23"):
        prepare(raw()).subset(size)


def test_dataset_takes_only_its_own_types():
    dataset = prepare(raw())
    with pytest.raises(DataError, match="inputs float64 and targets int64; expected float32 and int64"):
        dataclasses.replace(dataset, inputs=dataset.inputs.astype(np.float64))


def test_dataset_is_checked_however_it_is_made():
    with pytest.raises(DataError, match="labels run from"):
        Dataset("x", np.zeros((2, 1), np.float32), np.array([0, 9]), None, None, 2, "", Standardisation("none"), "")
