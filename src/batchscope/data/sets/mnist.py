"""`mnist`: handwritten digits."""

from __future__ import annotations

from batchscope.data.dataset import RawData
from batchscope.data.files import idx_files, read_idx_set
from batchscope.data.locate import PathLike
from batchscope.data.registry import FileLayout, FileSet, in_files, mirrored

# sha256 of the files as distributed; their md5 are those published with them.
_MNIST = {
    "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}


@in_files(
    FileSet(
        name="mnist",
        title="MNIST",
        citation="Y. LeCun, C. Cortes, C. J. C. Burges, The MNIST database of handwritten digits (1998)",
        shape=(1, 28, 28),
        num_classes=10,
        folders=("mnist", "MNIST/raw", ""),
        layouts=(FileLayout(idx_files("train", "t10k"), 60_000, 10_000),),
        downloads=mirrored(
            (
                "https://ossci-datasets.s3.amazonaws.com/mnist/",
                "https://storage.googleapis.com/cvdf-datasets/mnist/",
            ),
            _MNIST,
        ),
        checksums=_MNIST,
    ),
)
def read_mnist(*, name: str = "mnist", data_dir: PathLike | None = None) -> RawData:
    """Return MNIST: bytes [n, 1, 28, 28], labels 0..9."""
    return read_idx_set(name, data_dir)
