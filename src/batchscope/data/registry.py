"""What is known of each data set that lives in files: names, homes, checksums, sizes. Facts only, no reading."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Layout:
    """One way a set is stored: role -> file name without compression suffix, and how many examples that makes."""

    files: Mapping[str, str]
    num_examples: int
    num_heldout: int
    label: str = ""  # after the set's title, where it is not the whole set
    remark: str = ""  # said with the source wherever this layout was read


@dataclass(frozen=True)
class Download:
    """One file to fetch. file: its name once stored. checksum of the file at `urls`: sha256, or "md5:..." where only
    that was published.

    members: for an archive, the files to take out of it (by name, whatever their folder); it is deleted afterwards.
    """

    file: str
    urls: tuple[str, ...]
    checksum: str
    members: tuple[str, ...] = ()

    @property
    def stored(self) -> tuple[str, ...]:
        """The files this download leaves behind."""
        return self.members or (self.file,)


@dataclass(frozen=True)
class FileSet:
    """A data set in files. folders: subfolders of a data folder to look in, "" being the folder itself.

    layouts: in order of preference. downloads: empty where nothing can be fetched, with the reason in `no_download`.
    checksums: of files as distributed, file name -> sha256 or "md5:...".
    """

    name: str
    title: str
    citation: str
    shape: tuple[int, ...]
    num_classes: int
    folders: tuple[str, ...]
    layouts: tuple[Layout, ...]
    downloads: tuple[Download, ...] = ()
    checksums: Mapping[str, str] = field(default_factory=dict)
    no_download: str = ""

    @property
    def remedy(self) -> str:
        """What to do about missing files."""
        return f"`batchscope data get {self.name}`" if self.downloads else self.no_download

    @property
    def mend(self) -> str:
        """What to do about a damaged file."""
        return f"delete it and run {self.remedy}" if self.downloads else "restore it from where it came"


def _idx_files(prefix_train: str, prefix_heldout: str) -> dict[str, str]:
    return {
        f"{part}_{kind}": f"{prefix}-{kind}-{form}-ubyte"
        for part, prefix in (("train", prefix_train), ("heldout", prefix_heldout))
        for kind, form in (("images", "idx3"), ("labels", "idx1"))
    }


def _each(mirrors: tuple[str, ...], checksums: Mapping[str, str]) -> tuple[Download, ...]:
    return tuple(Download(name, tuple(mirror + name for mirror in mirrors), known) for name, known in checksums.items())


# sha256 of the files as distributed; their md5 are those published with them.
_MNIST = {
    "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
# md5 published with Fashion-MNIST.
_FASHION = {
    "train-images-idx3-ubyte.gz": "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "md5:25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "md5:bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "md5:bb300cfdad3c16e7a12a480ee83cd310",
}
# sha256 of the members of the official gzip archive.
_EMNIST_LETTERS = {
    "emnist-letters-train-images-idx3-ubyte.gz": "6288f418a917e007bf5fddb823a2dc7a5c6a35031401b93292a539cb12bd881f",
    "emnist-letters-train-labels-idx1-ubyte.gz": "9759af91ea6bccdf07a6040fd085861f2ec88e37f7c3f5760f6feb57106fbe5c",
    "emnist-letters-test-images-idx3-ubyte.gz": "50f0e93d75b99b463e9760b8345866f22587fa2c2fba472730a5ba09c693412d",
    "emnist-letters-test-labels-idx1-ubyte.gz": "924955c31fe7fd809b7303b5c0141282955f4b8390c74cdfd5d80435e0f4b4cb",
}
# sha256 of the reduced set's files; it is no official split.
_EMNIST47 = {
    "emnist47-train-images-idx3-ubyte.gz": "0555c838a52e713926360da2230e51e81ff80a4c85e7f73c9953bbf43e8c3a9d",
    "emnist47-train-labels-idx1-ubyte.gz": "7f1e0aeda7ec74faa6f804f93f8ab34bd939cc3ed798a183230aac5518e0891f",
    "emnist47-test-images-idx3-ubyte.gz": "dc5631265b7033591e1766311412df31631f812614b1ec3d4bf029362b93a586",
    "emnist47-test-labels-idx1-ubyte.gz": "0d31194844476c201ed57056e9c769b1af4db06616dfd58da3eda283291d1f1f",
}
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
# sha256 of the files as the UCI repository serves them.
_GISETTE = {
    "gisette_train.data": "6d4c5e998afe67937b9e77a3334e03c85e545ebc65a6eb1333ffc14125cfc389",
    "gisette_train.labels": "42bd681fe51b161f033df773df14a0116e492676555ab14616c1b72edc054075",
    "gisette_valid.data": "5cea897956dd172a006132738254a27a8f61ecc1ceb6f5b20639c281d2942254",
    "gisette_valid.labels": "a6b857a0448023f033c4dda2ef848714b4be2ae45ce598d088fb3efb406e08c5",
    "gisette_sample168.data.gz": "f7f2dfd0e6bae6a7315864a16d814523d211128cc62e9f6f48a72140d48a6dcb",
    "gisette_sample168.labels": "a1110047d2101fb84773c67ab44f2f51e4c85369aa97f8d1e36c9f54c474efae",
}
_GISETTE_HOME = "https://archive.ics.uci.edu/ml/machine-learning-databases/gisette/"
_CIFAR10_BATCHES = {f"batch_{i}": f"data_batch_{i}.bin" for i in range(1, 6)}

# Sets without files: name -> what they are.
BUILT_IN = {
    "digits": "8 x 8 handwritten digits embedded in scikit-learn (1437 + 360 held out, 10 classes)",
    "synthetic": "generated: normal inputs, a deep linear teacher (10 000 + 2000 held out, regression)",
    "gisette_like": "generated: made up like Gisette (6000 + 1000 held out, 5000 features, 2 classes)",
}

FILE_SETS: dict[str, FileSet] = {
    entry.name: entry
    for entry in (
        FileSet(
            name="mnist",
            title="MNIST",
            citation="Y. LeCun, C. Cortes, C. J. C. Burges, The MNIST database of handwritten digits (1998)",
            shape=(1, 28, 28),
            num_classes=10,
            folders=("mnist", "MNIST/raw", ""),
            layouts=(Layout(_idx_files("train", "t10k"), 60_000, 10_000),),
            downloads=_each(
                (
                    "https://ossci-datasets.s3.amazonaws.com/mnist/",
                    "https://storage.googleapis.com/cvdf-datasets/mnist/",
                ),
                _MNIST,
            ),
            checksums=_MNIST,
        ),
        FileSet(
            name="fashion_mnist",
            title="Fashion-MNIST",
            citation="H. Xiao, K. Rasul, R. Vollgraf, Fashion-MNIST (2017), arXiv:1708.07747",
            shape=(1, 28, 28),
            num_classes=10,
            folders=("fashion_mnist", "FashionMNIST/raw"),  # never flat: the files are named like MNIST's
            layouts=(Layout(_idx_files("train", "t10k"), 60_000, 10_000),),
            downloads=_each(("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",), _FASHION),
            checksums=_FASHION,
        ),
        FileSet(
            name="emnist_letters",
            title="EMNIST Letters",
            citation="G. Cohen, S. Afshar, J. Tapson, A. van Schaik, EMNIST: an extension of MNIST to handwritten "
            "letters (2017), arXiv:1702.05373",
            shape=(1, 28, 28),
            num_classes=26,
            folders=("emnist", "emnist_letters", "EMNIST/raw", ""),
            layouts=(Layout(_idx_files("emnist-letters-train", "emnist-letters-test"), 124_800, 20_800),),
            downloads=(
                Download(
                    "gzip.zip",
                    ("https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip",),
                    "md5:58c8d27c78d21e728a6bc7b3cc06412e",
                    members=tuple(_EMNIST_LETTERS),
                ),
            ),
            checksums=_EMNIST_LETTERS,
        ),
        FileSet(
            name="emnist47",
            title="EMNIST-47 (reduced)",
            citation="Class-balanced sample of 47 classes, not an official split, after G. Cohen, S. Afshar, "
            "J. Tapson, A. van Schaik, EMNIST (2017), arXiv:1702.05373",
            shape=(1, 28, 28),
            num_classes=47,
            folders=("emnist", "emnist47", ""),
            layouts=(Layout(_idx_files("emnist47-train", "emnist47-test"), 37_600, 4_700),),
            checksums=_EMNIST47,
            no_download="it is a reduced sample without a public home: put the emnist47-* files into emnist/ of a "
            "data folder, or use emnist_letters",
        ),
        FileSet(
            name="cifar10",
            title="CIFAR-10",
            citation="A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images (2009)",
            shape=(3, 32, 32),
            num_classes=10,
            folders=("cifar10", "cifar-10-batches-bin", ""),
            layouts=(
                Layout({**_CIFAR10_BATCHES, "heldout": "test_batch.bin"}, 50_000, 10_000),
                Layout(
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
        FileSet(
            name="gisette",
            title="Gisette",
            citation="I. Guyon, S. Gunn, A. Ben-Hur, G. Dror, UCI Machine Learning Repository, doi:10.24432/C5HP5B",
            shape=(5000,),
            num_classes=2,
            folders=("gisette", ""),
            layouts=(
                Layout(
                    {
                        "train_data": "gisette_train.data",
                        "train_labels": "gisette_train.labels",
                        "heldout_data": "gisette_valid.data",
                        "heldout_labels": "gisette_valid.labels",
                    },
                    6_000,
                    1_000,
                ),
                Layout({"train_libsvm": "gisette_scale", "heldout_libsvm": "gisette_scale.t"}, 6_000, 1_000),
                Layout(
                    {"train_data": "gisette_sample168.data", "train_labels": "gisette_sample168.labels"},
                    168,
                    0,
                    "168-row sample",
                    "Only a sample of 168 of the 6000 training rows: enough to test a loader, not to train on.",
                ),
            ),
            downloads=tuple(
                Download(file, (_GISETTE_HOME + ("" if file == "gisette_valid.labels" else "GISETTE/") + file,), known)
                for file, known in _GISETTE.items()
                if "sample" not in file
            ),
            checksums=_GISETTE,
        ),
    )
}
