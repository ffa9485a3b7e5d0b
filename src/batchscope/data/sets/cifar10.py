"""`cifar10`: colour photographs."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from batchscope.data.dataset import RawData
from batchscope.data.files import Pair, check_labels, raw_data, with_remedy
from batchscope.data.locate import PathLike, locate
from batchscope.data.readers.cifar import read_cifar_batch
from batchscope.data.registry import FILE_SETS, Download, FileLayout, FileSet, in_files
from batchscope.errors import choose

# md5 of the members of the official binary archive; sha256 of their .xz forms and of the shortened test file.
_CIFAR10 = {
    "data_batch_1.bin": "md5:5dd7e06a14cb22eb9f671a540d1b7c25",
    "data_batch_2.bin": "md5:5ea93a67294ea407fff1d09f752e9692",
    "data_batch_3.bin": "md5:942cd6a4bcdd0dd3c604fbe906cb4421",
    "data_batch_4.bin": "md5:ae636b3ba5c66a11e91e8cb52e771fcb",
    "data_batch_5.bin": "md5:53f37980c15c3d472c316c40844f3f0d",
    "data_batch_1.bin.xz": "eb85e2fa8507dfd1b92c4c13bf86ecb0afaf8bfe51627c96afd2592a639c38d1",
    "data_batch_2.bin.xz": "fee830d2ab86121368c33224fd1ead68dd8734bf3a19410fcb2b6a93d516da88",
    "data_batch_3.bin.xz": "e9b4bcf2d6e989e98cea00637443860672bd1908996316edc9c15a49790ad00d",
    "data_batch_4.bin.xz": "f7be88ff5508c67f7b7c0f154f5976332923970f7a4db11aa209f88aac0e3557",
    "data_batch_5.bin.xz": "efcb9f4df57d21f220cd068d0cea315ae27ff1491c031a922ac9e643688be6c2",
    "test_batch_first1000.bin.xz": "fc1054a43706bdb68218dcfb3fbeb3195bd715ec78a2bf95153cf06e73919dea",
}
_CIFAR10_BATCHES = {f"batch_{i}": f"data_batch_{i}.bin" for i in range(1, 6)}


@in_files(
    FileSet(
        name="cifar10",
        title="CIFAR-10",
        citation="A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images (2009)",
        shape=(3, 32, 32),
        num_classes=10,
        folders=("cifar10", "cifar-10-batches-bin", ""),
        layouts=(
            FileLayout({**_CIFAR10_BATCHES, "heldout": "test_batch.bin"}, 50_000, 10_000),
            FileLayout(
                {**_CIFAR10_BATCHES, "heldout": "test_batch_first1000.bin"},
                50_000,
                1_000,
                remark="Held out: the first 1000 of the 10 000 test images (an accuracy on them has a standard "
                "error of up to 1.6 points).",
            ),
        ),
        downloads=(
            Download(
                "cifar-10-binary.tar.gz",
                ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
                "md5:c32a1d4ab5d03f1284b67883e8d87530",
                members=(*_CIFAR10_BATCHES.values(), "test_batch.bin"),
            ),
        ),
        checksums=_CIFAR10,
    ),
)
def read_cifar10(*, name: str = "cifar10", data_dir: PathLike | None = None, heldout: str = "test") -> RawData:
    """Return CIFAR-10: bytes [n, 3, 32, 32].

    heldout: "test" for the test images at hand, or "batch_5" to hold out the fifth training batch and train on the
    other 40 000, where 1000 test images would be too few.
    """
    choose("heldout", heldout, ("test", "batch_5"))
    entry, located = FILE_SETS[name], locate(name, data_dir)
    training = [f"batch_{i}" for i in range(1, 6 if heldout == "test" else 5)]
    roles = [*training, "heldout" if heldout == "test" else heldout]
    with with_remedy(entry), ThreadPoolExecutor(max_workers=min(len(roles), os.cpu_count() or 1)) as pool:
        batches = list(pool.map(lambda role: _checked_batch(located.paths[role]), roles))
    images, labels = zip(*batches, strict=True)
    train = np.concatenate(images[:-1]), np.concatenate(labels[:-1])
    remark = "Held out: data_batch_5, not trained on." if heldout == "batch_5" else located.layout.remark
    return raw_data(entry, located, train, batches[-1], "per_channel", 255.0, remark)


def _checked_batch(path: Path) -> Pair:
    images, labels = read_cifar_batch(path)
    check_labels(path, labels, 0, 9)
    return images, labels
