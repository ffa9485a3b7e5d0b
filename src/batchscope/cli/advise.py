"""`batchscope advise DIR`: time and cost to target against the number of workers, for every shape of a study."""

from __future__ import annotations

import argparse
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchscope.analysis import CriticalBatchFit, find_shape
from batchscope.analysis import fit as fit_curves
from batchscope.analysis.context import Context, context
from batchscope.analysis.formatting import WIDTH
from batchscope.cli.console import console, print_json
from batchscope.cli.numbers import SECONDS, integers, quantity
from batchscope.cli.worker_times import links_given, time_models
from batchscope.errors import InputError
from batchscope.report.drawing.static import check_path
from batchscope.scaling import Advice, Design, TimeModel, advise, design, tables
from batchscope.scaling.advice import WORTH
from batchscope.scaling.advising import advise_each, check_wishes
from batchscope.scaling.calibration import MOST_PROCESSES
from batchscope.scaling.optimum import whole_workers
from batchscope.scaling.synchronising import PATTERNS
from batchscope.studies import Results, Study, read


@dataclass(frozen=True)
class StudyAdvice:
    """What `advise` says of one study. advices: by shape, wide to deep; left_out: shape -> why there is none; detailed:
    the shapes whose tables are shown."""

    name: str
    about: Context
    advices: dict[str, Advice]
    left_out: dict[str, str]
    detailed: tuple[Advice, ...]
    design: Design | None

    @property
    def wide_and_deep(self) -> tuple[Advice, ...]:
        """The first and the last of the shapes; one if there is only one."""
        return _ends(self.advices)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A run directory; the links, or how to time them; price, deadline and outputs."""
    parser.add_argument("directory", metavar="DIR", help="a run directory, finished or not")
    parser.add_argument("--study", metavar="NAME", help="only this one, where DIR holds several studies")
    parser.add_argument("--workers", default="1-64", metavar="P,..", help="numbers of workers (default %(default)s)")
    parser.add_argument("--batch-size", type=float, metavar="B", help="the same for every P, not the best for each")
    parser.add_argument("--shape", metavar="SHAPE", help='table of this one: a label, "wide" or "deep" (default: both)')
    links = parser.add_argument_group("the links between workers")
    links.add_argument("--bandwidth", metavar="W", help="of one link, such as 10Gbit/s (the default) or 1.25GB/s")
    links.add_argument("--latency", metavar="T", help="of one message, such as 50us (the default)")
    links.add_argument("--pattern", choices=sorted(PATTERNS), help="of the exchange (default ring)")
    speed = parser.add_argument_group("the speed of a worker (default: every shape is timed here for a moment)")
    speed.add_argument("--flops", type=float, metavar="F", help="assume so many per second, and no overhead per step")
    speed.add_argument("--times", metavar="FILE", help="keep timings in FILE, and read from it those it holds")
    speed.add_argument(
        "--processes",
        type=int,
        default=1,
        metavar="N",
        help="time on N processes at once, with their links (default 1)",
    )
    speed.add_argument("--memory", type=float, metavar="EXAMPLES", help="the largest batch one worker's memory takes")
    speed.add_argument("--data-dir", metavar="DIR", help="where to look for data first, for timing")
    wishes = parser.add_argument_group("what matters")
    wishes.add_argument("--price", type=float, metavar="MONEY", help="of one worker for an hour: shows costs")
    wishes.add_argument("--deadline", metavar="T", help="such as 2h: the fewest workers that keep it")
    wishes.add_argument(
        "--worth", type=float, default=100 * WORTH, metavar="%", help="a worker that saves less does not pay (3)"
    )
    wishes.add_argument("--figure", metavar="FILE", help="draw speed-up and time, as .png, .svg or .pdf")


def run(arguments: argparse.Namespace) -> int:
    """Print what every number of workers buys; 0."""
    options = _options(arguments)
    results = read(arguments.directory)
    results = results.of(arguments.study) if arguments.study else results
    found, silent = _advised(results, arguments, options)
    written = _draw(found, arguments)
    if arguments.json:
        studies = {one.name: _record(one) for one in found}
        print_json({"directory": arguments.directory, "studies": studies, "silent": silent})
        return 0
    for one in found:
        _print(one)
    for reason in silent.values():
        _paragraph(f"{reason[0].upper()}{reason[1:]}.")
    for path in written:
        print(path)
    return 0


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options of `scaling.advise`, checked before anything is read or timed."""
    if arguments.flops is not None and not 0 < arguments.flops < math.inf:
        raise InputError(f"--flops {arguments.flops}: expected a number above 0")
    if arguments.memory is not None and not arguments.memory >= 1:
        raise InputError(f"--memory {arguments.memory}: expected at least 1 example")
    if not 1 <= arguments.processes <= MOST_PROCESSES:
        raise InputError(f"--processes {arguments.processes}: expected 1 to {MOST_PROCESSES}")
    links_given(arguments)
    if arguments.figure is not None:
        check_path(arguments.figure)
    wishes = {
        "batch_size": arguments.batch_size,
        "price": arguments.price,
        "deadline": None if arguments.deadline is None else quantity("--deadline", arguments.deadline, SECONDS),
        "worth": arguments.worth / 100,
    }
    check_wishes(**wishes)
    workers = integers("--workers", arguments.workers)
    whole_workers(workers)
    return {"workers": workers, **wishes}


def _advised(
    results: Results, arguments: argparse.Namespace, options: dict[str, Any]
) -> tuple[list[StudyAdvice], dict[str, str]]:
    """(what is said of the studies that say something, study -> why another says nothing); InputError if none does."""
    found: list[StudyAdvice] = []
    silent: dict[str, str] = {}
    for study in results.studies:
        try:
            found.append(_study_advice(study, results.of(study.name), arguments, options))
        except InputError as error:
            silent[study.name] = str(error)
    if not found:
        raise InputError("; ".join(dict.fromkeys(silent.values())) or f"{arguments.directory} holds no study")
    return found, silent


def _study_advice(
    study: Study, results: Results, arguments: argparse.Namespace, options: dict[str, Any]
) -> StudyAdvice:
    fits = fit_curves(results)
    if not fits:
        raise InputError(f"study {study.name!r} has no finished runs to advise from; run it first")
    curveless = {shape: fit.statement for shape, fit in fits.items() if math.isnan(fit.b_crit)}
    if len(curveless) == len(fits):
        raise _nothing_said(study, curveless)
    models = time_models(study, results, arguments)
    advices, left_out = advise_each(models, fits, **options)
    if not advices:
        raise _nothing_said(study, left_out)
    detailed = _ends(advices) if arguments.shape is None else (_chosen(advices, left_out, arguments.shape),)
    return StudyAdvice(study.name, context(results.rows), advices, left_out, detailed, _design(models, fits, options))


def _nothing_said(study: Study, reasons: Mapping[str, str]) -> InputError:
    shapes: dict[str, list[str]] = {}
    for shape, reason in reasons.items():
        shapes.setdefault(reason, []).append(shape)
    listed = "; ".join(f"{', '.join(those)}: {reason}" for reason, those in shapes.items())
    return InputError(f"study {study.name!r} says nothing about workers: {listed}")


def _ends(advices: Mapping[str, Advice]) -> tuple[Advice, ...]:
    found = list(advices.values())
    return tuple(found if len(found) < 2 else (found[0], found[-1]))


def _chosen(advices: Mapping[str, Advice], left_out: Mapping[str, str], shape: str) -> Advice:
    """That of a label, "wide" or "deep"; InputError that says why there is none."""
    if shape in left_out:
        raise InputError(f"{shape} is left out: {left_out[shape]}")
    return advices[find_shape(dict.fromkeys(advices), shape)]  # type: ignore[arg-type]


def _design(
    models: Mapping[str, TimeModel], fits: Mapping[str, CriticalBatchFit], options: dict[str, Any]
) -> Design | None:
    try:
        return design(models, fits, max(options["workers"]), batch_size=options["batch_size"])
    except InputError:
        return None  # no shape can use that many workers: the tables say why


def _record(one: StudyAdvice) -> dict[str, Any]:
    pair = one.wide_and_deep
    return {
        "shapes": {shape: advice.as_dict() for shape, advice in one.advices.items()},
        "left_out": one.left_out,
        "design": None if one.design is None else one.design.as_dict(),
        "wide_against_deep": tables.against(*pair) if len(pair) == 2 else None,
    }


def _print(one: StudyAdvice) -> None:
    screen, advices = console(), list(one.advices.values())
    screen.print(f"{one.name}: {one.about.subtitle}", style="bold", markup=False)
    _paragraph(f"Time per step: {_times(advices)}.")
    screen.print(tables.shapes_table(advices))
    for advice in one.detailed:
        screen.print()
        screen.print(tables.workers_table(advice))
        _paragraph(advice.sentence)
    print()
    if len(one.wide_and_deep) == 2:
        _paragraph(tables.against(*one.wide_and_deep))
    if one.design is not None:
        _paragraph(one.design.sentence)
    for shape, reason in one.left_out.items():
        _paragraph(f"{shape} is left out: {reason}.")
    for note, shapes in _notes(advices).items():
        _paragraph(note if len(shapes) == len(advices) else f"{', '.join(shapes)}: {note}")
    print()


def _times(advices: Sequence[Advice]) -> str:
    """Where the times come from, the links, and how well the models predict."""
    first = advices[0].model
    errors = [abs(advice.model.held_out_error) for advice in advices if not math.isnan(advice.model.held_out_error)]
    held_out = f"; a timing left out of each was predicted within {max(errors):.1%}" if errors else ""
    return f"{first.origin}: {first.links}{held_out}"


def _notes(advices: Sequence[Advice]) -> dict[str, list[str]]:
    """Note -> the shapes it is about."""
    found: dict[str, list[str]] = {}
    for advice in advices:
        for note in advice.notes:
            found.setdefault(note, []).append(advice.name)
    return found


def _paragraph(text: str) -> None:
    print(textwrap.fill(text, WIDTH))


def _draw(found: Sequence[StudyAdvice], arguments: argparse.Namespace) -> list[Path]:
    if arguments.figure is None:
        return []
    from batchscope.report.charts.workers import workers_picture
    from batchscope.report.drawing import static

    path, written = Path(arguments.figure), []
    for one in found:
        place = path if len(found) == 1 else path.with_stem(f"{path.stem}-{one.name}".replace("/", "-"))
        fixed = [_kept(advice) for advice in one.wide_and_deep]
        written.append(static.write(workers_picture(one.wide_and_deep, fixed), place, one.about.subtitle))
    return written


def _kept(advice: Advice) -> Advice:
    """The same shape at the batch size that is best for one worker, for every number of workers."""
    workers = [point.workers for point in advice.points]
    alone = advise(advice.model, advice.curve, workers=[1]).points[0].batch_size  # an optimum, no whole number
    return advise(advice.model, advice.curve, name=advice.name, workers=workers, batch_size=max(1, round(alone)))
