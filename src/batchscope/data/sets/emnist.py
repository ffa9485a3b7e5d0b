"""`emnist_letters`, and `emnist47`, a reduced sample of 47 classes."""

from __future__ import annotations

from batchscope.data.dataset import RawData
from batchscope.data.files import idx_files, read_idx_set
from batchscope.data.locate import PathLike
from batchscope.data.registry import Download, FileLayout, FileSet, in_files

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


@in_files(
    FileSet(
        name="emnist_letters",
        title="EMNIST Letters",
        citation="G. Cohen, S. Afshar, J. Tapson, A. van Schaik, EMNIST: an extension of MNIST to handwritten "
        "letters (2017), arXiv:1702.05373",
        shape=(1, 28, 28),
        num_classes=26,
        folders=("emnist", "emnist_letters", "EMNIST/raw", ""),
        layouts=(FileLayout(idx_files("emnist-letters-train", "emnist-letters-test"), 124_800, 20_800),),
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
        layouts=(FileLayout(idx_files("emnist47-train", "emnist47-test"), 37_600, 4_700),),
        checksums=_EMNIST47,
        no_download="it is a reduced sample without a public home: put the emnist47-* files into emnist/ of a "
        "data folder, or use emnist_letters",
    ),
)
def read_emnist(*, name: str = "emnist_letters", data_dir: PathLike | None = None) -> RawData:
    """Return EMNIST Letters (stored labels 1..26 become 0..25) or the reduced EMNIST-47; bytes [n, 1, 28, 28].

    EMNIST is stored transposed: here the images are turned upright, once and for all.
    """
    return read_idx_set(name, data_dir, first_label=1 if name == "emnist_letters" else 0, transposed=True)
