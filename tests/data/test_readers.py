"""Each format: tiny files read back exactly, and every kind of damage named with what was expected."""

import bz2
import gzip
import lzma
import re

import numpy as np
import pytest

from batchscope.data import from_arrays, load
from batchscope.errors import DataError
from tests.data.tiny_files import idx_bytes, write_idx_set


def standardised(raw):
    """What `load` should make of training pixels with one channel: an independent statement of it."""
    pixels = raw.astype(np.float64)
    return (pixels - pixels.mean()) / pixels.std()


def damage(path, change):
    path.write_bytes(change(path.read_bytes()))
    return path


# IDX


def test_mnist_comes_back_as_written(tmp_path):
    arrays = write_idx_set(tmp_path / "mnist", ("train", "t10k"), (53, 17), range(10))
    dataset = load("mnist", data_dir=tmp_path)
    assert np.array_equal(dataset.targets, arrays["train-labels-idx1-ubyte"])
    assert np.array_equal(dataset.heldout_targets, arrays["t10k-labels-idx1-ubyte"])
    expected = standardised(arrays["train-images-idx3-ubyte"])
    np.testing.assert_allclose(dataset.inputs[:, 0], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("suffix", ["", ".xz", ".bz2"])
def test_other_compressions_are_read_too(mnist_folder, suffix):
    compress = {"": bytes, ".xz": lzma.compress, ".bz2": bz2.compress}[suffix]
    before = load("mnist", data_dir=mnist_folder).fingerprint
    for path in list((mnist_folder / "mnist").glob("*.gz")):
        path.with_name(path.stem + suffix).write_bytes(compress(gzip.decompress(path.read_bytes())))
        path.unlink()
    assert load("mnist", data_dir=mnist_folder).fingerprint == before


def test_emnist_is_turned_upright_and_its_labels_start_at_zero(tmp_path):
    prefixes = ("emnist-letters-train", "emnist-letters-test")
    arrays = write_idx_set(tmp_path / "emnist", prefixes, (53, 17), range(1, 27))
    dataset = load("emnist_letters", data_dir=tmp_path)
    stored = arrays["emnist-letters-train-images-idx3-ubyte"]
    np.testing.assert_allclose(dataset.inputs[:, 0], standardised(stored.transpose(0, 2, 1)), rtol=1e-5, atol=1e-6)
    assert np.array_equal(dataset.targets, arrays["emnist-letters-train-labels-idx1-ubyte"].astype(int) - 1)
    assert dataset.num_classes == 26


def test_emnist_letters_label_zero_is_refused(tmp_path):
    prefixes = ("emnist-letters-train", "emnist-letters-test")
    write_idx_set(tmp_path / "emnist", prefixes, (53, 17), range(0, 1))
    with pytest.raises(DataError, match=r"53 labels outside 1..26, the first \(0\) at index 0"):
        load("emnist_letters", data_dir=tmp_path)


def test_emnist47_is_named_reduced(tmp_path):
    write_idx_set(tmp_path / "emnist", ("emnist47-train", "emnist47-test"), (53, 17), range(47))
    dataset = load("emnist47", data_dir=tmp_path)
    assert dataset.title == "EMNIST-47 (reduced)"
    assert dataset.d_out == 47


def flip_a_byte_in_the_middle(data):
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :]


def recompressed(change):
    return lambda data: gzip.compress(change(gzip.decompress(data)))


@pytest.mark.parametrize(
    ("file", "change", "says"),
    [
        ("train-images-idx3-ubyte", lambda d: d[: len(d) // 2], "truncated or corrupt: expected a whole gz file"),
        ("train-images-idx3-ubyte", flip_a_byte_in_the_middle, "truncated or corrupt"),
        ("train-images-idx3-ubyte", lambda d: b"<html>not found</html>", "truncated or corrupt"),
        ("train-images-idx3-ubyte", lambda d: d[:-8] + bytes(8), "truncated or corrupt"),  # only the CRC is wrong
        ("t10k-labels-idx1-ubyte", lambda d: b"", r"magic number 0|truncated or corrupt"),
        (
            "train-labels-idx1-ubyte",
            recompressed(lambda d: d[:-3]),
            "that is 61 bytes, but there are 58",
        ),
        ("train-images-idx3-ubyte", recompressed(lambda d: d + b"x"), r"shape \(53, 28, 28\)"),
        ("train-images-idx3-ubyte", recompressed(lambda d: d[:10]), "10 bytes, shorter than its header of 16"),
        ("train-images-idx3-ubyte", recompressed(lambda d: d[:2]), "magic number"),
        (
            "train-images-idx3-ubyte",
            lambda d: gzip.compress(idx_bytes(np.zeros(53))),
            r"2049 \(labels\); expected 2051 \(images\)",
        ),
        (
            "train-images-idx3-ubyte",
            lambda d: gzip.compress(idx_bytes(np.zeros((53, 27, 28)))),
            "27 x 28; expected",
        ),
        ("train-labels-idx1-ubyte", lambda d: gzip.compress(idx_bytes(np.zeros(51))), "53 images but .* has 51 labels"),
        ("train-labels-idx1-ubyte", lambda d: gzip.compress(idx_bytes(np.full(53, 10))), r"53 labels outside 0..9"),
    ],
)
def test_a_damaged_idx_file_is_named_with_its_remedy(mnist_folder, file, change, says):
    path = damage(mnist_folder / "mnist" / f"{file}.gz", change)
    with pytest.raises(DataError, match=says) as caught:
        load("mnist", data_dir=mnist_folder)
    assert str(path) in str(caught.value)
    assert "delete it and run `batchscope data get mnist`" in str(caught.value)


def test_an_unreadable_file_is_named(mnist_folder):
    path = mnist_folder / "mnist" / "train-images-idx3-ubyte.gz"
    path.unlink()
    path.symlink_to(path.parent)  # exists, but is a folder
    with pytest.raises(DataError, match="without train-images-idx3-ubyte"):
        load("mnist", data_dir=mnist_folder)


def test_a_reduced_set_cannot_be_fetched_so_the_remedy_is_another(tmp_path):
    write_idx_set(tmp_path / "emnist", ("emnist47-train", "emnist47-test"), (53, 17), range(47))
    damage(tmp_path / "emnist" / "emnist47-train-labels-idx1-ubyte.gz", lambda d: d[:20])
    with pytest.raises(DataError, match="restore it from where it came"):
        load("emnist47", data_dir=tmp_path)


# CIFAR-10


def write_cifar(folder, heldout="test_batch.bin", compress=bytes, suffix=""):
    folder.mkdir()
    draw = np.random.default_rng(5)
    records = {}
    for name in (*(f"data_batch_{i}.bin" for i in range(1, 6)), heldout):
        records[name] = draw.integers(0, 256, (7, 3073), dtype=np.uint8)
        records[name][:, 0] %= 10
        (folder / f"{name}{suffix}").write_bytes(compress(records[name].tobytes()))
    return records


@pytest.mark.parametrize(("compress", "suffix"), [(bytes, ""), (lzma.compress, ".xz")])
@pytest.mark.parametrize("folder", ["cifar10", "cifar-10-batches-bin"])
def test_cifar_comes_back_as_written(tmp_path, compress, suffix, folder):
    records = write_cifar(tmp_path / folder, compress=compress, suffix=suffix)
    dataset = load("cifar10", data_dir=tmp_path)
    train = np.concatenate([records[f"data_batch_{i}.bin"] for i in range(1, 6)])
    assert np.array_equal(dataset.targets, train[:, 0])
    assert dataset.inputs.shape == (35, 3, 32, 32)
    pixels = train[:, 1:].reshape(35, 3, 32, 32) / 255
    np.testing.assert_allclose(dataset.standardisation.mean, pixels.mean(axis=(0, 2, 3)), rtol=1e-12)
    expected = (pixels - pixels.mean(axis=(0, 2, 3), keepdims=True)) / pixels.std(axis=(0, 2, 3), keepdims=True)
    np.testing.assert_allclose(dataset.inputs, expected, rtol=1e-4, atol=1e-5)
    assert np.array_equal(dataset.heldout_targets, records["test_batch.bin"][:, 0])


def test_cifar_with_the_first_1000_test_images_says_so(tmp_path):
    write_cifar(tmp_path / "cifar10", heldout="test_batch_first1000.bin")
    assert "first 1000 of the 10 000 test images" in load("cifar10", data_dir=tmp_path).source


def test_cifar_can_hold_out_its_fifth_batch(tmp_path):
    records = write_cifar(tmp_path / "cifar10")
    dataset = load("cifar10", data_dir=tmp_path, heldout="batch_5")
    assert dataset.num_examples == 28
    assert np.array_equal(dataset.heldout_targets, records["data_batch_5.bin"][:, 0])
    assert "data_batch_5" in dataset.source


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d[:-1], "21510 bytes once decompressed; expected a multiple of 3073"),
        (lambda d: b"", "0 bytes once decompressed"),
        (lambda d: b"\x0a" + d[1:], r"1 labels outside 0..9, the first \(10\) at index 0"),
    ],
)
def test_a_damaged_cifar_file_is_named(tmp_path, change, says):
    write_cifar(tmp_path / "cifar10")
    path = damage(tmp_path / "cifar10" / "data_batch_3.bin", change)
    with pytest.raises(DataError, match=says) as caught:
        load("cifar10", data_dir=tmp_path)
    assert str(path) in str(caught.value)
    assert "batchscope data get cifar10" in str(caught.value)


@pytest.mark.parametrize("change", [lambda d: d[: len(d) // 2], flip_a_byte_in_the_middle])
def test_a_damaged_xz_file_is_named(tmp_path, change):
    write_cifar(tmp_path / "cifar10", compress=lzma.compress, suffix=".xz")
    path = damage(tmp_path / "cifar10" / "data_batch_3.bin.xz", change)
    with pytest.raises(DataError, match="truncated or corrupt: expected a whole xz file") as caught:
        load("cifar10", data_dir=tmp_path)
    assert str(path) in str(caught.value)


# Gisette


def challenge_text(patterns):
    return "".join(
        " ".join(map(str, row)) + " \n" for row in patterns
    ).encode()  # the real files end lines with a blank


def write_gisette(folder, parts=("train", "valid"), compress=bytes, suffix=""):
    folder.mkdir()
    draw = np.random.default_rng(2)
    arrays = {}
    for part, n in zip(parts, (11, 7), strict=False):
        patterns = draw.integers(0, 1000, (n, 5000)) * (draw.random((n, 5000)) < 0.13)
        signs = 2 * (np.arange(n) % 2) - 1
        arrays[part] = patterns, signs
        (folder / f"gisette_{part}.data{suffix}").write_bytes(compress(challenge_text(patterns)))
        (folder / f"gisette_{part}.labels").write_text("\n".join(map(str, signs)) + "\n")
    return arrays


@pytest.mark.parametrize(("compress", "suffix"), [(bytes, ""), (gzip.compress, ".gz")])
def test_gisette_in_full_file_naming(tmp_path, compress, suffix):
    arrays = write_gisette(tmp_path / "gisette", compress=compress, suffix=suffix)
    dataset = load("gisette", data_dir=tmp_path, standardise="none")
    assert np.array_equal(dataset.inputs, arrays["train"][0])
    assert np.array_equal(dataset.heldout_inputs, arrays["valid"][0])
    assert np.array_equal(2 * dataset.targets - 1, arrays["train"][1])
    assert dataset.title == "Gisette"
    assert load("gisette", data_dir=tmp_path).standardisation.scheme == "global"


def test_gisette_sample_says_it_is_one(tmp_path):
    write_gisette(tmp_path / "gisette", parts=("sample168",), compress=gzip.compress, suffix=".gz")
    dataset = load("gisette", data_dir=tmp_path)
    assert dataset.heldout_inputs is None
    assert dataset.title == "Gisette, 168-row sample"
    assert "not to train on" in dataset.source


def test_gisette_in_libsvm_form(tmp_path):
    folder = tmp_path / "gisette"
    folder.mkdir()
    (folder / "gisette_scale.bz2").write_bytes(bz2.compress(b"+1 1:0.5 5000:-1\n-1 3:1\n+1\n"))
    (folder / "gisette_scale.t").write_bytes(b"-1 2:0.25\n")
    dataset = load("gisette", data_dir=tmp_path, standardise="none")
    expected = np.zeros((3, 5000))
    expected[0, 0], expected[0, 4999], expected[1, 2] = 0.5, -1, 1
    assert np.array_equal(dataset.inputs, expected)
    assert dataset.targets.tolist() == [1, 0, 1]
    assert dataset.heldout_inputs[0, 1] == 0.25


@pytest.mark.parametrize(
    ("contents", "says"),
    [
        (b"+1 5001:1\n", "up to 5000 features"),
        (b"+1 0:1\n", "LIBSVM"),
        (b"+1 a:b\n", "LIBSVM"),
        (b"3 1:1\n", r"labels \[3.0\]"),
    ],
)
def test_a_bad_libsvm_file_is_named(tmp_path, contents, says):
    folder = tmp_path / "gisette"
    folder.mkdir()
    (folder / "gisette_scale.t").write_bytes(b"-1 2:0.25\n")
    (folder / "gisette_scale").write_bytes(contents)
    with pytest.raises(DataError, match=says):
        load("gisette", data_dir=tmp_path)


def edit_line(number, change):
    def edit(data):
        lines = data.decode().splitlines()
        lines[number] = change(lines[number])
        return "\n".join(lines).encode()

    return edit


@pytest.mark.parametrize(
    ("file", "change", "says"),
    [
        ("gisette_train.data", edit_line(4, lambda line: line[:-200]), "as many on every line"),
        ("gisette_train.data", edit_line(0, lambda line: "x" + line), "expected whole numbers"),
        ("gisette_train.data", lambda d: b"1 2 3\n4 5 6\n", "3 numbers a line; expected 5000"),
        (
            "gisette_train.data",
            edit_line(2, lambda line: "1000 " + line.split(" ", 1)[1]),
            "to 1000; expected",
        ),
        ("gisette_train.data", edit_line(2, lambda line: "-1 " + line.split(" ", 1)[1]), "values from -1"),
        ("gisette_train.data", edit_line(2, lambda line: "99999 " + line.split(" ", 1)[1]), "expected whole numbers"),
        ("gisette_train.labels", lambda d: d + b"1\n", r"labels of shape \(12, 1\) for 11 patterns"),
        ("gisette_train.labels", lambda d: d.replace(b"-1", b"0"), r"labels \[0\]; expected -1 and 1"),
        ("gisette_valid.labels", lambda d: b"", "no lines"),
    ],
)
@pytest.mark.filterwarnings("ignore:loadtxt")
def test_a_damaged_gisette_file_is_named(tmp_path, file, change, says):
    write_gisette(tmp_path / "gisette")
    path = damage(tmp_path / "gisette" / file, change)
    with pytest.raises(DataError, match=says) as caught:
        load("gisette", data_dir=tmp_path)
    assert str(path) in str(caught.value)


# .npz and arrays


def test_npz_classification(tmp_path):
    path = tmp_path / "mine.npz"
    inputs, targets = np.random.default_rng(0).normal(size=(23, 5)), np.arange(23) % 3
    np.savez(path, inputs=inputs, targets=targets, heldout_inputs=inputs[:2], heldout_targets=np.array([3, 0]))
    dataset = load(path)
    assert dataset.name == "mine"
    assert dataset.num_classes == 4  # counted over both parts
    assert dataset.standardisation.scheme == "per_feature"
    assert dataset.fingerprint == load(str(path)).fingerprint
    assert load(path, num_examples=7).num_examples == 7
    np.testing.assert_allclose(dataset.inputs, from_arrays(inputs, targets).inputs)


@pytest.mark.parametrize("shape", [(23,), (23, 1), (23, 2)])
def test_npz_regression(tmp_path, shape):
    path = tmp_path / "mine.npz"
    np.savez(path, inputs=np.random.default_rng(0).normal(size=(23, 5)), targets=np.ones(shape))
    dataset = load(path)
    assert dataset.num_classes is None
    assert dataset.targets.shape == (23, shape[1] if len(shape) > 1 else 1)


def test_grey_images_get_a_channel():
    dataset = from_arrays(np.random.default_rng(0).integers(0, 9, (23, 5, 7)), np.zeros(23, int))
    assert dataset.inputs.shape == (23, 1, 5, 7)
    assert dataset.standardisation.scheme == "per_channel"


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"a": np.eye(3), "y": np.arange(3)}, r"found the arrays a, y; expected inputs and targets"),
        ({"inputs": np.eye(3)}, "found the arrays inputs; expected"),
        (
            {"inputs": np.eye(3), "targets": np.arange(3), "heldout_inputs": np.eye(3)},
            "heldout_inputs with",
        ),
        ({"inputs": np.eye(3), "targets": np.arange(4)}, "3 inputs but 4 targets"),
        ({"inputs": np.eye(3) * np.nan, "targets": np.arange(3)}, "9 NaN or infinite values"),
        ({"inputs": np.eye(3), "targets": np.arange(3) - 1}, "labels run from -1 to 1"),
        ({"inputs": np.eye(3), "targets": np.array(["a", "b", "c"])}, "targets are <U1"),
        ({"inputs": np.array([["a"]]), "targets": np.arange(1)}, "inputs are <U1"),
        ({"inputs": np.arange(3), "targets": np.arange(3)}, r"int64 of shape \(3,\)"),
        ({"inputs": np.zeros((0, 3)), "targets": np.zeros(0, int)}, "empty"),
        (
            {"inputs": np.array([None]), "targets": np.arange(1)},
            "holds Python objects, which run code",
        ),
    ],
)
def test_unusable_npz_arrays_are_named(tmp_path, arrays, says):
    path = tmp_path / "mine.npz"
    np.savez(path, **arrays)
    with pytest.raises(DataError, match=says):
        load(path)


@pytest.mark.parametrize("contents", [b"", b"nonsense", None])
def test_a_broken_npz_file_is_named(tmp_path, contents):
    path = tmp_path / "mine.npz"
    np.savez_compressed(path, inputs=np.random.default_rng(0).normal(size=(53, 7)), targets=np.zeros(53, int))
    path.write_bytes(path.read_bytes()[:500] if contents is None else contents)
    with pytest.raises(DataError, match=re.escape(str(path))):
        load(path)


def test_a_missing_npz_file_is_named(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        load(tmp_path / "none.npz")
