"""`batchscope plan STUDY`: what a run would train, and how long it may take; trains and writes nothing."""

from __future__ import annotations

import argparse
import dataclasses
import json

from batchscope.cli.study import add_study, notes
from batchscope.errors import InputError
from batchscope.recipes import find
from batchscope.running.runner import default_workers
from batchscope.studies.outline import Outline, outline


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_study(parser)


def run(arguments: argparse.Namespace) -> int:
    studies = find(arguments.study, arguments.variant)
    workers = default_workers("cpu") if arguments.workers is None else arguments.workers
    if workers < 1:
        raise InputError(f"workers = {workers}; expected at least 1")
    outlines = [outline(study, workers, arguments.data_dir) for study in studies]
    if arguments.json:
        print(json.dumps({"studies": [dataclasses.asdict(one) for one in outlines]}))
        return 0
    for study, one in zip(studies, outlines, strict=True):
        print("\n".join([_text(one), *(f"  {note}" for note in notes(study))]), end="\n\n")
    return 0


def _text(one: Outline) -> str:
    minutes = f"{one.minutes_at_most:.0f} minutes" if one.minutes_at_most >= 2 else f"{60 * one.minutes_at_most:.0f} s"
    lines = [
        f"{one.study}: {one.dataset}, {one.num_examples} training examples",
        f"  shapes       {'; '.join(one.architectures)}",
        f"  batch sizes  {', '.join(map(str, one.batch_sizes))}",
        f"  options      {', '.join(f'{name} {value}' for name, value in one.options.items() if value != '')}",
        f"  {one.cells} cells, {one.cohorts} cohorts, {one.trials} trials, and more where a step-size grid is widened;",
        "  which step sizes the final runs use depends on how tuning goes",
        f"  at most {minutes} on {one.workers} workers if none stops early (assumption: the rates in studies/cost.py)",
    ]
    return "\n".join(lines)
