"""`load` by name: sets without files, tiny MNIST files, and what is refused."""

import numpy as np
import pytest

import batchscope as bs
from batchscope.data import load, names
from batchscope.errors import DataError, InputError


def test_digits_is_split_by_seed():
    dataset, again, other = load("digits"), load("digits"), load("digits", seed=1)
    assert dataset.inputs.shape == (1437, 1, 8, 8)
    assert dataset.heldout_inputs.shape == (360, 1, 8, 8)
    assert dataset.fingerprint == again.fingerprint != other.fingerprint
    assert dataset.standardisation.unit == 16.0

    # Every image is in exactly one part: pixel sums of both parts are those of the whole, whatever the seed.
    def raw_sum(d):
        mean, std = d.standardisation.mean[0], d.standardisation.std[0]
        return sum((part.astype(np.float64) * std + mean).sum() for part in (d.inputs, d.heldout_inputs))

    assert raw_sum(dataset) == pytest.approx(raw_sum(other), rel=1e-6)
    counts = np.bincount(dataset.targets, minlength=10) + np.bincount(dataset.heldout_targets, minlength=10)
    assert counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_digits_subset_and_too_many():
    assert load("digits", num_examples=101, seed=3).num_examples == 101
    with pytest.raises(InputError, match="1437 training examples"):
        load("digits", num_examples=1438)


def test_synthetic_is_the_deep_linear_teacher_it_says():
    dataset = load("synthetic", d_in=13, d_out=3, teacher_widths=(7, 5), seed=4)
    assert dataset.num_examples == 10_000
    assert dataset.num_classes is None
    assert dataset.d_out == 3
    # Linear without an offset: least squares on 13 inputs leaves only float32 rounding.
    x, y = dataset.inputs.astype(np.float64), dataset.targets.astype(np.float64)
    weights, *_ = np.linalg.lstsq(x, y, rcond=None)
    assert np.abs(x @ weights - y).max() < 1e-5
    assert np.abs(dataset.heldout_inputs @ weights - dataset.heldout_targets).max() < 1e-5
    assert np.linalg.matrix_rank(weights) == 3
    assert y.var(axis=0).mean() == pytest.approx(1, rel=1e-6)
    assert "unit variance" in dataset.source
    # Inputs are N(0, 1): mean and variance within 5 standard errors over 130 000 numbers.
    assert abs(x.mean()) < 5 / np.sqrt(x.size)
    assert abs(x.var() - 1) < 5 * np.sqrt(2 / x.size)


def test_a_narrow_teacher_has_its_rank():
    dataset = load("synthetic", num_examples=211, d_in=13, d_out=3, teacher_widths=(7, 2))
    weights, *_ = np.linalg.lstsq(dataset.inputs.astype(np.float64), dataset.targets.astype(np.float64), rcond=None)
    assert np.linalg.matrix_rank(weights, tol=1e-4) == 2


def test_synthetic_target_scale_is_recorded_and_can_be_left_out():
    scaled = load("synthetic", num_examples=101, d_in=7)
    plain = load("synthetic", num_examples=101, d_in=7, normalise_targets=False)
    assert plain.standardisation.target_scale == 1.0
    np.testing.assert_allclose(scaled.targets * scaled.standardisation.target_scale, plain.targets, rtol=1e-5)


def test_teacher_weights_have_unit_variance():
    # Var y = d_in * width for one hidden layer of N(0, 1) weights, over many teachers; relative error of the mean of
    # 300 draws about sqrt(2 (1 + 3/width) / 300) ~ 10 %.
    variances = [
        load(
            "synthetic", seed=s, num_examples=50, num_heldout=1, d_in=11, teacher_widths=(17,), normalise_targets=False
        ).targets.var()
        for s in range(300)
    ]
    assert np.mean(variances) == pytest.approx(11 * 17, rel=0.3)


def test_noise_is_in_units_of_the_scaled_targets():
    clean, noisy = (load("synthetic", num_examples=5003, d_in=7, noise=noise) for noise in (0.0, 0.5))
    difference = noisy.targets - clean.targets
    assert difference.std() == pytest.approx(0.5, rel=5 / np.sqrt(2 * 5003))
    assert np.array_equal(clean.inputs, noisy.inputs)


def test_the_teacher_does_not_depend_on_the_number_of_examples():
    few, many = (load("synthetic", num_examples=n, d_in=5, normalise_targets=False) for n in (53, 101))
    assert np.array_equal(few.inputs, many.inputs[:53])
    np.testing.assert_allclose(few.targets, many.targets[:53], rtol=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"d_in": 0},
        {"d_out": 0},
        {"teacher_widths": (3, 0)},
        {"noise": -1.0},
        {"noise": float("nan")},
        {"num_heldout": 0},
    ],
)
def test_impossible_teachers_are_refused(options):
    with pytest.raises(InputError, match="synthetic"):
        load("synthetic", **options)


def test_gisette_like_has_gisettes_make_up():
    dataset = load("gisette_like", num_examples=503, num_heldout=101, standardise="none")
    values = dataset.inputs
    assert values.shape == (503, 5000)
    assert np.array_equal(values, values.astype(np.int64))
    assert values.min() == 0
    assert values.max() <= 999
    # The rows' densities vary by 0.03, the threshold's own error is about 0.03 / sqrt(500).
    assert (values > 0).mean() == pytest.approx(0.132, abs=5 * 0.031 / np.sqrt(503) + 5 * 0.031 / np.sqrt(500))
    assert np.median(values[values > 0]) == pytest.approx(885, abs=5)
    assert abs(np.bincount(dataset.targets) - 251.5).max() <= 0.5
    assert "not Gisette" in dataset.source
    assert "generated" in dataset.title


def test_gisette_like_can_be_learnt_but_not_from_the_probes():
    dataset = load("gisette_like", num_examples=1009, num_heldout=503)
    signs = 2 * dataset.targets - 1
    direction = signs @ dataset.inputs  # difference of the class means: the simplest classifier
    accuracy = np.mean((dataset.heldout_inputs @ direction > 0) == dataset.heldout_targets)
    assert accuracy > 0.75
    shuffled = np.random.default_rng(0).permutation(signs) @ dataset.inputs
    assert np.mean((dataset.heldout_inputs @ shuffled > 0) == dataset.heldout_targets) < 0.65


def test_mnist_from_tiny_files(mnist_folder):
    dataset = load("mnist", data_dir=mnist_folder)
    assert dataset.inputs.shape == (53, 1, 28, 28)
    assert dataset.heldout_targets.shape == (17,)
    assert dataset.standardisation.scheme == "per_channel"
    assert str(mnist_folder / "mnist") in dataset.source
    assert load("mnist", data_dir=mnist_folder, num_examples=13).num_examples == 13


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("mnits", "did you mean 'mnist'"),
        ("emnist_leters", "did you mean 'emnist_letters'"),
        ("zzz", "expected one of 'digits'"),
        (
            "numbers.txt",
            "a path that ends in .npz, .csv, .parquet, a folder saved by datasets, text:PATH or package.module",
        ),
    ],
)
def test_an_unknown_name_is_refused_with_the_closest(name, says):
    with pytest.raises(InputError, match=says):
        load(name)


def test_unknown_options_are_refused_with_the_closest(mnist_folder):
    with pytest.raises(InputError, match="did you mean 'noise'"):
        load("synthetic", noize=1)
    with pytest.raises(InputError, match="it takes none"):
        load("mnist", data_dir=mnist_folder, noise=1)
    with pytest.raises(InputError, match="did you mean 'global'"):
        load("digits", standardise="globl")


@pytest.mark.parametrize("n", [0, -5])
def test_numbers_of_examples_below_one_are_refused(n):
    for name in ("digits", "synthetic"):
        with pytest.raises(InputError, match="at least 1"):
            load(name, num_examples=n)


def test_a_set_without_its_files_says_where_it_looked(tmp_path):
    with pytest.raises(DataError) as caught:
        load("cifar10", data_dir=tmp_path)
    message = str(caught.value)
    assert str(tmp_path) in message
    assert "batchscope data get cifar10" in message


def test_the_room_is_reached_from_the_package():
    assert bs.data.load is load
    assert "mnist" in names()


def test_inputs_of_a_study_are_standardised_divided_by_their_unit_or_as_stored():
    from batchscope.studies import Study
    from batchscope.studies.dataset import DataRequest, load_data

    fixed = {"name": "x", "dataset": "digits", "shapes": [[1, 5]], "batch_sizes": [4], "target": {"train_loss": 0.1}}
    found = {name: load_data(DataRequest.of(Study(**fixed, inputs=name))) for name in ("standardised", "unit", "raw")}
    assert abs(found["standardised"].inputs.mean()) < 1e-5
    assert found["unit"].inputs.max() == 1.0
    assert np.array_equal(found["raw"].inputs, found["unit"].inputs * 16)  # pixels of 0 to 16
    assert len({data.fingerprint for data in found.values()}) == 3
    assert found["standardised"].fingerprint == load("digits").fingerprint
