"""`batchscope run STUDY --out DIR`: finish a study, or what is left of it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from batchscope.analysis.digest import Digest
from batchscope.cli.console import print_json
from batchscope.cli.progress import progress_display
from batchscope.cli.report import digests_of, write_figures, write_page_of
from batchscope.cli.reported import Reported, of_results
from batchscope.cli.study import add_study, notes
from batchscope.recipes import RECIPES, find
from batchscope.records.row import Outcome
from batchscope.report.terminal import brief_text
from batchscope.running.devices import DEVICES
from batchscope.running.executors import EXECUTORS
from batchscope.running.executors.distributed import launched, leads
from batchscope.running.executors.ray import CHECKPOINTS
from batchscope.running.freed_memory import keep_freed_memory
from batchscope.running.runner import run as run_studies
from batchscope.running.work import LONGEST_MESSAGE
from batchscope.studies import Results, Study

EXIT_DONE, EXIT_CRASHED_TRIALS = 0, 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of a study; where it is kept, on what and in how many parts it runs."""
    add_study(parser)
    parser.add_argument("--out", metavar="DIR", help="the run directory, created or resumed (default: runs/STUDY)")
    parser.add_argument(
        "--executor",
        choices=EXECUTORS,
        default="processes",
        help="processes: on this machine, one per worker (the default); inline: one cohort after another in this "
        "process; ray: on the Ray cluster at $RAY_ADDRESS, or on one started here for this run",
    )
    parser.add_argument(
        "--checkpoints",
        choices=CHECKPOINTS,
        help="with --executor ray: workers send the states of unfinished cohorts to this process (driver, the default) "
        "or write them into DIR, which every machine must see (directory)",
    )
    parser.add_argument("--shard", metavar="I/N", help="train part I of N only; several machines share one DIR")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--report", action="store_true", help="at the end write DIR/report.html and DIR/figures")


def run(arguments: argparse.Namespace) -> int:
    """Train what is missing, print the headline; 0, 1 where trials crashed."""
    studies = find(arguments.study, arguments.variant)
    out = arguments.out or default_directory(arguments.study, arguments.variant)
    if arguments.executor == "inline" or launched():
        keep_freed_memory()  # this process trains
    with progress_display(quiet=arguments.json or not leads()) as display:
        results = run_studies(
            studies,
            out,
            executor=arguments.executor,
            workers=arguments.workers,
            device=arguments.device,
            shard=arguments.shard,
            data_dir=arguments.data_dir,
            progress=display,
            checkpoints=arguments.checkpoints,
        )
    if not leads():
        return EXIT_DONE  # one of torchrun's ranks: the first one speaks for all
    crashed = results.count(Outcome.CRASHED)
    if arguments.json:
        print_json(_summary(results, out))
    else:
        print("\n".join(_ending(results, studies, out, arguments.report)))
    if crashed:
        message = next(row.message for row in results.rows if row.outcome == Outcome.CRASHED)[:LONGEST_MESSAGE]
        print(f"{crashed} trials crashed; the first: {message}. The same command tries them again.", file=sys.stderr)
    return EXIT_CRASHED_TRIALS if crashed else EXIT_DONE


def _ending(results: Results, studies: tuple[Study, ...], out: str, report: bool) -> list[str]:
    """What a finished run says: each study's headline, what was assumed, where everything lies, what to type next."""
    about = of_results(results)
    digests = digests_of(about)
    lines = [f"{brief_text(one)}\n" for one in digests.values()]
    lines += [line for study in studies for line in notes(study)]
    lines.append(f"{len(results.rows)} trials in {out}")
    if report:
        lines += _written(digests, about, Path(out))
        lines.append(f"Next: batchscope report {out}                   every table")
        return [*lines, f"      batchscope advise {out} --workers 1-64   how many workers that buys"]
    return [*lines, f"Next: batchscope report {out} --html {out}/report.html"]


def _written(digests: dict[str, Digest], about: Reported, out: Path) -> list[str]:
    page = write_page_of(digests, about, out / "report.html")
    figures = write_figures(digests, out / "figures")
    return [f"page: {page}", f"figures: {len(figures)} files in {out / 'figures'}"]


def default_directory(study: str, variant: str = "") -> str:
    """Return runs/STUDY: the name of the recipe and variant, or of the file without its folder and ending."""
    name = study if study in RECIPES else Path(study).stem
    return f"runs/{name}-{variant}" if variant else f"runs/{name}"


def _summary(results: Results, out: str) -> dict[str, object]:
    outcomes = {outcome.value: results.count(outcome) for outcome in Outcome}
    return {"out": out, "trials": len(results.rows), "outcomes": outcomes, "table": results.table().to_dicts()}
