"""`gisette`: the digits 4 and 9 as 5000 features, of the NIPS 2003 feature selection challenge."""

from __future__ import annotations

from batchscope.data.dataset import RawData
from batchscope.data.files import Pair, raw_data, with_remedy
from batchscope.data.locate import Located, PathLike, locate
from batchscope.data.readers.gisette import read_challenge_pair, read_libsvm_file
from batchscope.data.registry import FILE_SETS, Download, FileLayout, FileSet, in_files

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


@in_files(
    FileSet(
        name="gisette",
        title="Gisette",
        citation="I. Guyon, S. Gunn, A. Ben-Hur, G. Dror, UCI Machine Learning Repository, doi:10.24432/C5HP5B",
        shape=(5000,),
        num_classes=2,
        folders=("gisette", ""),
        layouts=(
            FileLayout(
                {
                    "train_data": "gisette_train.data",
                    "train_labels": "gisette_train.labels",
                    "heldout_data": "gisette_valid.data",
                    "heldout_labels": "gisette_valid.labels",
                },
                6_000,
                1_000,
            ),
            FileLayout({"train_libsvm": "gisette_scale", "heldout_libsvm": "gisette_scale.t"}, 6_000, 1_000),
            FileLayout(
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
def read_gisette(*, name: str = "gisette", data_dir: PathLike | None = None) -> RawData:
    """Return Gisette: features [n, 5000], class 0 for label -1 and 1 for label 1.

    The challenge's text form (whole numbers 0..999), LIBSVM's gisette_scale (scaled to -1..1), or the 168-row sample.
    Standardised with one mean and deviation for all entries: per feature, those seen in a few rows only would become
    values of several tens.
    """
    entry, located = FILE_SETS[name], locate(name, data_dir)
    with with_remedy(entry):
        train = _gisette_part(located, "train")
        heldout = _gisette_part(located, "heldout") if located.layout.num_heldout else None
    return raw_data(entry, located, train, heldout, "global", 1.0, located.layout.remark)


def _gisette_part(located: Located, part: str) -> Pair:
    if f"{part}_libsvm" in located.paths:
        return read_libsvm_file(located.paths[f"{part}_libsvm"])
    return read_challenge_pair(located.paths[f"{part}_data"], located.paths[f"{part}_labels"])
