"""`batchscope plan STUDY`: what a run would train, and how long it may take; trains and writes nothing."""

from __future__ import annotations

import argparse
import dataclasses
import math

from batchscope.analysis.formatting import number
from batchscope.analysis.planning import LARGEST_CHECK, OWN_ERROR, SEEDS_SPREAD
from batchscope.cli.console import print_json
from batchscope.cli.study import add_study, notes
from batchscope.recipes import find
from batchscope.running.devices import check_workers, default_workers
from batchscope.running.own_code_check import check_study
from batchscope.studies.outline import FASTEST_EPOCHS, Outline, outline


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of a study."""
    add_study(parser)


# (protocol, race) -> how step sizes are chosen.
HOW = {
    ("paper2018", False): "protocol paper2018: the lowest training loss after two epochs",
    ("tuned", False): "protocol tuned: the fewest epochs to the target; race = true makes the same choice sooner",
    ("tuned", True): "protocol tuned, in a race: tuning runs end when the first of their cell meets the target",
    ("fixed", False): "protocol fixed: one for the sum of a batch's losses",
}


def run(arguments: argparse.Namespace) -> int:
    """Print trials, cohorts, predicted time and what the study can decide; 0."""
    studies = find(arguments.study, arguments.variant)
    workers = default_workers("cpu") if arguments.workers is None else arguments.workers
    check_workers(workers)
    for study in studies:
        check_study(study, arguments.data_dir)
    outlines = [outline(study, workers, arguments.data_dir) for study in studies]
    if arguments.json:
        print_json({"studies": [dataclasses.asdict(one) for one in outlines]})
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
        f"  step sizes   {_how(one)}",
        f"  {one.cells} cells, {one.cohorts} cohorts, {one.trials} trials, and more where a step-size grid is widened;",
        "  which step sizes the final runs use depends on how tuning goes",
        f"  at most {minutes} on {one.workers} workers if none stops early (assumption: the rates in studies/cost.py)",
    ]
    return "\n".join([*lines, *_decides(one)])


def _how(one: Outline) -> str:
    """How a cell gets its step size."""
    if one.protocol != "fixed" and one.num_step_sizes == 1:
        return f"protocol {one.protocol}, with one to choose from: nothing is tuned"
    return HOW[one.protocol, one.race]


def _decides(one: Outline) -> list[str]:
    """What the design can decide, and what one more seed or batch size buys."""
    if math.isinf(one.design.width):
        return ["  decides nothing on a critical batch size: that needs three batch sizes at least"]
    lines = [
        f"  can decide: B_crit (if near {number(one.design.b_crit)}) within a factor of {number(one.design.width)}; "
        f"with probability {one.design.power:.2f} which of two shapes has twice the B_crit;",
    ]
    lines += [
        f"    one more {what}: a factor of {number(more.width)}, probability {more.power:.2f}"
        for what, more in (("seed", one.with_a_seed), ("batch size", one.with_a_size))
    ]
    lines.append(
        f"    (assumed: seeds differ by {SEEDS_SPREAD:.0%}, a batch size is {OWN_ERROR:.0%} off on its own, the "
        f"fastest runs take {FASTEST_EPOCHS:g} epochs)"
    )
    if one.options["evaluations_per_epoch"] < one.checks_advised:
        lines.append(
            f"    a slow-down of {LARGEST_CHECK:.0%} then shows with evaluations_per_epoch = {one.checks_advised}: one "
            f"check is to be at most {LARGEST_CHECK:.0%} of the fastest time"
        )
    return lines
