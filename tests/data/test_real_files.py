"""The real files, where they are at hand: counts, means and checksums as published. Skipped elsewhere."""

import numpy as np
import pytest

from batchscope.data import check, load
from batchscope.data.locate import find

pytestmark = pytest.mark.real_data


def needs(name):
    return pytest.mark.skipif(
        find(name) is None, reason=f"the files of {name} are not at hand: batchscope data get {name}"
    )


def counts(targets):
    return np.bincount(targets).tolist()


@needs("mnist")
def test_mnist():
    dataset = load("mnist")
    assert counts(dataset.targets) == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert counts(dataset.heldout_targets) == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert round(dataset.standardisation.mean[0], 4) == 0.1307
    assert round(dataset.standardisation.std[0], 4) == 0.3081
    assert check("mnist").problems == ()


@needs("emnist_letters")
@pytest.mark.slow
def test_emnist_letters():
    dataset = load("emnist_letters")
    assert counts(dataset.targets) == [4800] * 26
    assert counts(dataset.heldout_targets) == [800] * 26
    assert round(dataset.standardisation.mean[0], 4) == 0.1722
    assert round(dataset.standardisation.std[0], 4) == 0.3309
    # T has its bar on top: more ink above than below; stored as it is, transposed, that would be left and right.
    mean = dataset.inputs[dataset.targets == ord("T") - ord("A"), 0].mean(axis=0)
    above, left = mean[:14].mean() - mean[14:].mean(), mean[:, :14].mean() - mean[:, 14:].mean()
    assert above > left > 0


@needs("emnist47")
@needs("mnist")
def test_emnist_digits_stand_like_mnists():
    ours, upright = load("emnist47"), load("mnist")
    for digit in (2, 3, 4, 5, 6, 7):  # those whose transposed image looks unlike
        mine, mnists = (part.inputs[part.targets == digit, 0].mean(axis=0) for part in (ours, upright))
        likeness = [np.corrcoef(view.ravel(), mnists.ravel())[0, 1] for view in (mine, mine.T)]
        assert likeness[0] > likeness[1] + 0.1


@needs("emnist47")
def test_emnist47():
    dataset = load("emnist47")
    assert counts(dataset.targets) == [800] * 47
    assert counts(dataset.heldout_targets) == [100] * 47
    assert check("emnist47").problems == ()


@needs("cifar10")
@pytest.mark.slow
def test_cifar10():
    dataset = load("cifar10")
    assert counts(dataset.targets) == [5000] * 10
    assert counts(dataset.targets[:10_000]) == [1005, 974, 1032, 1016, 999, 937, 1030, 1001, 1025, 981]
    assert np.round(dataset.standardisation.mean, 4).tolist() == [0.4914, 0.4822, 0.4465]
    assert np.round(dataset.standardisation.std, 4).tolist() == [0.2470, 0.2435, 0.2616]
    if dataset.num_heldout == 1000:
        assert counts(dataset.heldout_targets) == [103, 89, 100, 103, 90, 86, 112, 102, 106, 109]


@needs("gisette")
def test_gisette():
    dataset = load("gisette", standardise="none")
    if dataset.num_examples != 168:
        assert counts(dataset.targets) == [3000, 3000]
        return
    assert counts(dataset.targets) == [82, 86]
    values = dataset.inputs
    assert round((values > 0).mean(), 3) == 0.132
    assert np.quantile(values[values > 0], (0.25, 0.5, 0.75)).tolist() == [666, 885, 983]
    assert ((values > 0).sum(axis=0) == 0).sum() == 768
    assert check("gisette").problems == ()


@needs("gisette")
def test_gisette_like_resembles_the_real_rows():
    real, stand_in = load("gisette", standardise="none"), load("gisette_like", num_examples=168, standardise="none")
    rates = [np.quantile((part.inputs[:168] > 0).mean(axis=0), (0.25, 0.5, 0.75, 0.9)) for part in (real, stand_in)]
    np.testing.assert_allclose(rates[1], rates[0], atol=0.03)
    assert abs((stand_in.inputs > 0).mean() - (real.inputs[:168] > 0).mean()) < 0.01
    never = [int(((part.inputs[:168] > 0).sum(axis=0) == 0).sum()) for part in (real, stand_in)]
    assert 0.5 * never[0] < never[1] < 1.5 * never[0]
