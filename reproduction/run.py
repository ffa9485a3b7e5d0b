"""Make every run of REPRODUCTION.md again, resumed where it stands, with its estimated time first; hours on two cores.

python -m reproduction.run             into results/; then the simulation, the figures and the page
python -m reproduction.run --smoke     the same path in small, into a folder that is thrown away; under a minute
python -m reproduction.run --smoke --out DIR          into one that is kept, and gone on with after an interruption
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import batchscope as bs
from batchscope.analysis.digest import digest
from batchscope.analysis.formatting import duration
from batchscope.architectures import family_named
from batchscope.cli.main import EXIT_INTERRUPTED
from batchscope.cli.main import main as batchscope
from batchscope.errors import DataError
from batchscope.records.packed import SUFFIX, files_of
from batchscope.running.devices import default_workers
from batchscope.studies import StepSizes, Study
from batchscope.studies.outline import outline
from reproduction import conjecture, figures, initialisations, keep, page
from reproduction.command import ended
from reproduction.evidence import DECLARED, RESULTS, RUNS, is_whole
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


def minutes() -> dict[str, float]:
    """What `batchscope run` is given -> minutes at most on the workers of this machine; those finished count too."""
    workers = default_workers("cpu")
    return {given: sum(outline(study, workers).minutes_at_most for study in studies_of(given)) for given in DECLARED}


def everything() -> int:
    """All of it, in order, but for the runs that are whole. Returns the worst exit status of the runs.

    A run that cannot be made, for want of its data say, leaves the others alone; Ctrl-C ends it all.
    """
    statuses = {}
    print(_estimate(), flush=True)
    for given, directory in DECLARED.items():
        statuses[given] = made(given, RESULTS / directory)
        if statuses[given] == EXIT_INTERRUPTED:
            return EXIT_INTERRUPTED
    conjecture.main([])
    initialisations.main([])
    figures.main([])
    page.main([])
    for given in (given for given, status in statuses.items() if status):
        print(f"not finished, see above: batchscope run {given}", file=sys.stderr)
    return max(statuses.values())


def made(given: str, out: Path) -> int:
    """Make a run, or go on with it, and pack its rows; leave it alone where it is whole. Returns the exit status.

    Raises AssertionError where the rows that are there are those of another study.
    """
    if is_whole(out):
        keep.reworded(out)
        print(f"{given}: whole, in {out}", flush=True)
        _pack(out)
        return 0
    words = given.split()
    batchscope(["plan", *words])
    status = batchscope(["run", *words, "--out", str(out)])
    if is_whole(out):
        _pack(out)
    return status


def _pack(out: Path) -> None:
    """Leave what is to be committed, unless that is all there is."""
    if any(file.suffix != SUFFIX for file in files_of(out)):
        keep.keep(out, out)


def _estimate() -> str:
    """The time of everything, before anything is run; of data that are not there no time is known."""
    try:
        found = minutes()
    except DataError as error:
        return f"no estimate of the whole: {error}"
    return f"at most {duration(60 * sum(found.values()))} for all {len(found)} runs; finished ones are left alone"


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--out", type=Path, help="of the smoke form: a folder to keep, and to go on in")
    arguments = parser.parse_args(words)
    if arguments.out and not arguments.smoke:
        parser.error("--out is for --smoke; the rows of all runs go into results/")
    if not arguments.smoke:
        return everything()
    if arguments.out:
        smoke(arguments.out)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        smoke(Path(folder))
    return 0


if __name__ == "__main__":
    raise SystemExit(ended("run", main))
