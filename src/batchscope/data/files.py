"""From the files of a set to `RawData`: what the sets in files share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from batchscope.data.dataset import Array, RawData
from batchscope.data.locate import Located, PathLike, locate
from batchscope.data.readers.idx import read_idx_pair
from batchscope.data.registry import FILE_SETS, FileSet
from batchscope.errors import DataError

Pair = tuple[Array, Array]


def idx_files(prefix_train: str, prefix_heldout: str) -> dict[str, str]:
    """Role -> file name, of a set in the form of MNIST."""
    return {
        f"{part}_{kind}": f"{prefix}-{kind}-{form}-ubyte"
        for part, prefix in (("train", prefix_train), ("heldout", prefix_heldout))
        for kind, form in (("images", "idx3"), ("labels", "idx1"))
    }


def read_idx_set(name: str, data_dir: PathLike | None, first_label: int = 0, transposed: bool = False) -> RawData:
    """A set in the form of MNIST: bytes [n, 1, height, width]; labels from `first_label` on become 0, 1, ..."""
    entry, located = FILE_SETS[name], locate(name, data_dir)
    parts: list[Pair] = []
    with with_remedy(entry):
        for part in ("train", "heldout"):
            labels_path = located.paths[f"{part}_labels"]
            images, labels = read_idx_pair(located.paths[f"{part}_images"], labels_path, entry.shape[-1])
            check_labels(labels_path, labels, first_label, first_label + entry.num_classes - 1)
            upright = np.ascontiguousarray(images.swapaxes(2, 3)) if transposed else images
            parts.append((upright, labels - np.uint8(first_label)))
    return raw_data(entry, located, parts[0], parts[1], "per_channel", 255.0, located.layout.remark)


def check_labels(path: Path, labels: Array, low: int, high: int) -> None:
    """Raise DataError naming the file unless it has labels and all lie in low..high."""
    if not labels.size:
        raise DataError(f"{path}: no labels")
    outside = (labels < low) | (labels > high)
    if outside.any():
        first = int(outside.argmax())
        count, value = int(outside.sum()), int(labels[first])
        raise DataError(f"{path}: {count} labels outside {low}..{high}, the first ({value}) at index {first}")


def raw_data(
    entry: FileSet, located: Located, train: Pair, heldout: Pair | None, scheme: str, unit: float, remark: str
) -> RawData:
    """The two parts as a data set, with its citation and where it was read."""
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
def with_remedy(entry: FileSet) -> Iterator[None]:
    """Add to any DataError about a file how to mend it; the readers below know only formats."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{error}. Remedy: {entry.mend}") from error
