"""`fashion_mnist`: articles of clothing, in the form of MNIST."""

from __future__ import annotations

from batchscope.data.dataset import RawData
from batchscope.data.files import idx_files, read_idx_set
from batchscope.data.locate import PathLike
from batchscope.data.registry import FileLayout, FileSet, in_files, mirrored

# md5 published with Fashion-MNIST.
_FASHION = {
    "train-images-idx3-ubyte.gz": "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "md5:25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "md5:bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "md5:bb300cfdad3c16e7a12a480ee83cd310",
}


@in_files(
    FileSet(
        name="fashion_mnist",
        title="Fashion-MNIST",
        citation="H. Xiao, K. Rasul, R. Vollgraf, Fashion-MNIST (2017), arXiv:1708.07747",
        shape=(1, 28, 28),
        num_classes=10,
        folders=("fashion_mnist", "FashionMNIST/raw"),  # never flat: the files are named like MNIST's
        layouts=(FileLayout(idx_files("train", "t10k"), 60_000, 10_000),),
        downloads=mirrored(("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",), _FASHION),
        checksums=_FASHION,
    ),
)
def read_fashion_mnist(*, name: str = "fashion_mnist", data_dir: PathLike | None = None) -> RawData:
    """Return Fashion-MNIST: bytes [n, 1, 28, 28], labels 0..9."""
    return read_idx_set(name, data_dir)
