"""From the files of a set to `RawData`: which reader, which labels, which way up."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from batchscope.data.dataset import Array, RawData
from batchscope.data.locate import Located, PathLike, locate
from batchscope.data.readers.cifar import read_cifar_batch
from batchscope.data.readers.gisette import read_challenge_pair, read_libsvm_file
from batchscope.data.readers.idx import read_idx_pair
from batchscope.data.registry import FILE_SETS, FileSet
from batchscope.errors import DataError, choose

Pair = tuple[Array, Array]


def read_mnist(*, name: str = "mnist", data_dir: PathLike | None = None) -> RawData:
    """Return MNIST or Fashion-MNIST: bytes [n, 1, 28, 28], labels 0..9."""
    return _idx_set(name, data_dir, first_label=0, transposed=False)


def read_emnist(*, name: str = "emnist_letters", data_dir: PathLike | None = None) -> RawData:
    """Return EMNIST Letters (stored labels 1..26 become 0..25) or the reduced EMNIST-47; bytes [n, 1, 28, 28].

    EMNIST is stored transposed: here the images are turned upright, once and for all.
    """
    return _idx_set(name, data_dir, first_label=1 if name == "emnist_letters" else 0, transposed=True)


def read_cifar10(*, name: str = "cifar10", data_dir: PathLike | None = None, heldout: str = "test") -> RawData:
    """Return CIFAR-10: bytes [n, 3, 32, 32].

    heldout: "test" for the test images at hand, or "batch_5" to hold out the fifth training batch and train on the
    other 40 000, where 1000 test images would be too few.
    """
    choose("heldout", heldout, ("test", "batch_5"))
    entry, located = FILE_SETS[name], locate(name, data_dir)
    training = [f"batch_{i}" for i in range(1, 6 if heldout == "test" else 5)]
    roles = [*training, "heldout" if heldout == "test" else heldout]
    with _remedy(entry), ThreadPoolExecutor(max_workers=min(len(roles), os.cpu_count() or 1)) as pool:
        batches = list(pool.map(lambda role: _checked_batch(located.paths[role]), roles))
    images, labels = zip(*batches, strict=True)
    train = np.concatenate(images[:-1]), np.concatenate(labels[:-1])
    remark = "Held out: data_batch_5, not trained on." if heldout == "batch_5" else located.layout.remark
    return _raw(entry, located, train, batches[-1], "per_channel", 255.0, remark)


def read_gisette(*, name: str = "gisette", data_dir: PathLike | None = None) -> RawData:
    """Return Gisette: features [n, 5000], class 0 for label -1 and 1 for label 1.

    The challenge's text form (whole numbers 0..999), LIBSVM's gisette_scale (scaled to -1..1), or the 168-row sample.
    Standardised with one mean and deviation for all entries: per feature, those seen in a few rows only would become
    values of several tens.
    """
    entry, located = FILE_SETS[name], locate(name, data_dir)
    with _remedy(entry):
        train = _gisette_part(located, "train")
        heldout = _gisette_part(located, "heldout") if located.layout.num_heldout else None
    return _raw(entry, located, train, heldout, "global", 1.0, located.layout.remark)


READERS: dict[str, Callable[..., RawData]] = {
    "mnist": read_mnist,
    "fashion_mnist": read_mnist,
    "emnist_letters": read_emnist,
    "emnist47": read_emnist,
    "cifar10": read_cifar10,
    "gisette": read_gisette,
}


def _idx_set(name: str, data_dir: PathLike | None, first_label: int, transposed: bool) -> RawData:
    entry, located = FILE_SETS[name], locate(name, data_dir)
    parts: list[Pair] = []
    with _remedy(entry):
        for part in ("train", "heldout"):
            labels_path = located.paths[f"{part}_labels"]
            images, labels = read_idx_pair(located.paths[f"{part}_images"], labels_path, entry.shape[-1])
            check_labels(labels_path, labels, first_label, first_label + entry.num_classes - 1)
            upright = np.ascontiguousarray(images.swapaxes(2, 3)) if transposed else images
            parts.append((upright, labels - np.uint8(first_label)))
    return _raw(entry, located, parts[0], parts[1], "per_channel", 255.0, located.layout.remark)


def _checked_batch(path: Path) -> Pair:
    images, labels = read_cifar_batch(path)
    check_labels(path, labels, 0, 9)
    return images, labels


def _gisette_part(located: Located, part: str) -> Pair:
    if f"{part}_libsvm" in located.paths:
        return read_libsvm_file(located.paths[f"{part}_libsvm"])
    return read_challenge_pair(located.paths[f"{part}_data"], located.paths[f"{part}_labels"])


def check_labels(path: Path, labels: Array, low: int, high: int) -> None:
    """Raise DataError naming the file unless it has labels and all lie in low..high."""
    if not labels.size:
        raise DataError(f"{path}: no labels")
    outside = (labels < low) | (labels > high)
    if outside.any():
        first = int(outside.argmax())
        count, value = int(outside.sum()), int(labels[first])
        raise DataError(f"{path}: {count} labels outside {low}..{high}, the first ({value}) at index {first}")


def _raw(
    entry: FileSet, located: Located, train: Pair, heldout: Pair | None, scheme: str, unit: float, remark: str
) -> RawData:
    heldout_inputs, heldout_targets = (None, None) if heldout is None else heldout
    return RawData(
        name=entry.name,
        title=f"{entry.title}, {located.layout.label}" if located.layout.label else entry.title,
        inputs=train[0],
        targets=train[1],
        heldout_inputs=heldout_inputs,
        heldout_targets=heldout_targets,
        num_classes=entry.num_classes,
        source=f"{entry.citation}. {remark + ' ' if remark else ''}Read from {located.folder}.",
        scheme=scheme,
        unit=unit,
    )


@contextmanager
def _remedy(entry: FileSet) -> Iterator[None]:
    """Add to any DataError about a file how to mend it; the readers below know only formats."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{error}. Remedy: {entry.mend}") from error
