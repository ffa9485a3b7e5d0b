"""Make every run of REPRODUCTION.md again, resumed where it stands, with its estimated time first; hours on two cores.

python -m reproduction.run             into results/; then the simulation, the figures and the page
python -m reproduction.run --smoke     the same path in small, into a folder that is thrown away; under a minute
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import batchscope as bs
from batchscope.analysis.digest import digest
from batchscope.architectures import family_named
from batchscope.cli.main import main as batchscope
from batchscope.studies import StepSizes, Study
from reproduction import conjecture, figures, initialisations, keep, page
from reproduction.evidence import DECLARED, RESULTS, RUNS
from reproduction.keep import studies_of

ENDS = (16, 64)  # batch sizes of the smoke form


def is_convolutional(study: Study) -> bool:
    """Whether its networks are; such studies have no smoke form, for the digits are too small for them."""
    return family_named(study.family, study.source).takes_images


def small(study: Study) -> Study:
    """The same question of 200 examples: the outermost shapes, two batch sizes, two seeds, three epochs.

    Images are the embedded digits, which need no files.
    """
    images = study.target.is_accuracy
    shapes = study.shapes and (study.shapes[0], study.shapes[-1])[: len(study.shapes)]
    values = study.to_dict() | {
        "dataset": "digits" if images else study.dataset,
        "num_examples": 200,
        "budget": study.budget and min(study.budget, 3000),
        "depths": study.depths and tuple(dict.fromkeys((study.depths[0], study.depths[-1]))),
        "shapes": shapes and tuple(dict.fromkeys(shapes)),
        "batch_sizes": ENDS,
        "num_seeds": 2,
        "max_epochs": 3,
        "scaled": "smoke: 200 examples",
    }
    if study.protocol != "fixed":
        values["step_sizes"] = StepSizes(min=0.05, max=0.1)
    return Study.from_dict({key: value for key, value in values.items() if value is not None})


def smoke(folder: Path) -> dict[str, int]:
    """Run the small form of every committed run, keep its rows, analyse them and draw them; rows by directory."""
    rows = {}
    for given, directory in RUNS.items():
        studies = tuple(small(study) for study in studies_of(given) if not is_convolutional(study))[:2]
        if not studies:
            continue
        bs.run(studies, folder / "runs" / directory, executor="inline")
        rows[directory] = keep.keep(folder / "runs" / directory, folder / "results" / directory)
        for study in studies:
            found = bs.studies.read(folder / "results" / directory).of(study.name)
            figures.write(digest(found.rows), "heat_map", folder / f"{directory}-{study.name}.png")
        print(f"{directory}: {rows[directory]} rows", flush=True)
    return rows


def everything() -> None:
    """All of it, in order; any part that is finished takes seconds."""
    for given, directory in DECLARED.items():
        words = given.split()
        batchscope(["plan", *words])
        batchscope(["run", *words, "--out", str(RESULTS / directory)])
    conjecture.main([])
    initialisations.main([])
    figures.main([])
    page.main([])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true")
    if not parser.parse_args().smoke:
        return everything()
    with tempfile.TemporaryDirectory() as folder:
        smoke(Path(folder))


if __name__ == "__main__":
    main()
