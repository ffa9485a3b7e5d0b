"""The paper's figures from the committed rows, without training.

python -m reproduction.figures                  those of the documents into docs/figures, in under a minute
python -m reproduction.figures figure2 --out .  one of them
python -m reproduction.figures --all --out .    all: Figures 3, 4 and 5 of every committed run of a panel, too
"""

from __future__ import annotations

import argparse
import functools
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from batchscope.analysis import Verdict, batch_threshold
from batchscope.analysis.digest import Digest, digest
from batchscope.analysis.formatting import number
from batchscope.analysis.ratios import ratio_bounds
from batchscope.errors import choose
from batchscope.report.charts import Chart
from batchscope.report.charts.axes import categories, doubling, log_axis
from batchscope.report.charts.chart import Axis, Hue, Line, Mark, Panel, Points
from batchscope.report.charts.estimates import OUTSIDE, points
from batchscope.report.charts.registry import CHARTS
from batchscope.report.drawing import static
from reproduction import changes, initial_weights, lemma1
from reproduction.command import ended
from reproduction.evidence import (
    CHANGES,
    FIGURE1,
    LINEAR,
    LINEAR_TUNED,
    MNIST,
    RESULTS,
    RUNS,
    WEIGHTS,
    at_the_start,
    batch_sizes,
    results,
)
from reproduction.initial_weights import Net

OUT = Path(__file__).parent.parent / "docs" / "figures"
FRAME = (1 / 16, 40.0)  # of ratios to the plain deep net
HIGHEST = 1000.0  # ratios of suboptimality beyond are drawn there, as open triangles


@functools.cache
def digest_of(given: str) -> Digest:
    """The analysis of committed rows, by what `batchscope run` was given."""
    return digest(results(given).rows)


def of_report(given: str, chart: str) -> tuple[Chart, str]:
    """A chart of the report of committed rows, what it assumes and which rows these are; and its data and runs."""
    found, subtitle = described(digest_of(given), chart)
    return replace(found, caption=f"{found.caption} Assumed: {assumed(given)}. Rows: {given}."), subtitle


def assumed(given: str) -> str:
    """What the paper does not state and these runs have, in short: ``sgd, glorot_uniform weights, ...``."""
    study = results(given).study
    momentum = f" with momentum {study.momentum:g}" if study.momentum else ""
    words = [f"{study.optimizer}{momentum}", f"{study.initialisation} weights", f"{study.activation} units"]
    words += [f"{study.inputs} inputs"] if study.dataset != "synthetic" else []
    words += [f"{study.passes_per_epoch} passes counted as an epoch"] if study.passes_per_epoch > 1 else []
    return ", ".join(words)


def described(one: Digest, chart: str) -> tuple[Chart, str]:
    """A chart of the report, and which data and runs it shows."""
    found = CHARTS[chart][1](one)
    if found is None:
        raise AssertionError(f"the rows allow no chart {chart!r}")
    return found, one.about.subtitle


def figure2(given: str) -> tuple[Chart, str]:
    """Of linear nets (a) B_S of the initial nets, (b) the largest batch within 14 epochs, (c) one against the other."""
    one, start = digest_of(given), at_the_start(given)
    largest = batch_threshold(one.sweeps, "within_epochs(14)")
    shapes, hues = list(start), [Hue(k, len(start)) for k in range(len(start))]
    bounds = tuple(
        Points("", hue, (float(k),), (start[shape],), group=shape)
        for k, (shape, hue) in enumerate(zip(shapes, hues, strict=True))
    )
    within = tuple(
        points("", hue, [k], [largest[shape]]) for k, (shape, hue) in enumerate(zip(shapes, hues, strict=True))
    )
    both = tuple(points(shape, hue, [start[shape]], [largest[shape]]) for shape, hue in zip(shapes, hues, strict=True))
    depths = categories("hidden layers", [str(one.sweeps[shape].depth) for shape in shapes])
    diversity = doubling("B_S at the start (examples)", start.values())
    # Panels of a static figure share this axis.
    y = doubling("examples: (a) B_S at the start; (b), (c) largest batch", [*start.values(), *batch_sizes(given)])
    panels = Panel(depths, y, bounds, "(a)"), Panel(depths, y, within, "(b)"), Panel(diversity, y, both, "(c)")
    caption = (
        f"Linear nets of 16 384 weights, loss 1e-12. B_S: mean of {results(given).study.num_seeds} initial nets. "
        f"Largest batch: within_epochs(14), bars 95 % over seeds. {OUTSIDE} Assumed: {assumed(given)}. Rows: {given}."
    )
    title = "Gradient diversity at the start and the largest batch"
    return Chart(title, caption, panels, legend="shape, wide to deep"), one.about.subtitle


def lemma1_ratios() -> tuple[Chart, str]:
    """Suboptimality over that of serial SGD against δ, with the promise; one panel a problem."""
    found = lemma1.committed()
    panels = tuple(
        _lemma1_panel(problem, [line for line in found if line.problem == problem])
        for problem in dict.fromkeys(line.problem for line in found)
    )
    caption = (
        "One step size γ for the sum at every batch size. Each point: one batch size, at the pass where it is worst "
        "against the promise; bars: to the lower end of its interval (95 % for 20 passes together). Line: 1 + δ/2. "
        "Open triangles: "
        f"beyond {HIGHEST:g} times, diverged runs among them. n = {found[0].n} seeds a point."
    )
    return Chart("Lemma 1: promised and found", caption, panels, legend="hidden layers, step size"), (
        "synthetic, 1000 examples, nets of 3000 weights, 20 passes"
    )


def _lemma1_panel(problem: str, found: Sequence[lemma1.Line]) -> Panel:
    kinds = list(dict.fromkeys((line.depth, line.sum_step_size) for line in found))
    layers = tuple(
        _ratios(
            f"L = {kind[0]}, γ = {kind[1]:g}",
            Hue(k, len(kinds)),
            [x for x in found if (x.depth, x.sum_step_size) == kind],
        )
        for k, kind in enumerate(kinds)
    )
    x = _decades("δ = (B - 1) / min n Δ_S", 0.01, 1000)
    deltas = tuple(0.01 * 1.2**k for k in range(64))
    rule = Line("1 + δ/2", "ink", deltas, tuple(1 + delta / 2 for delta in deltas), style="dashed")
    return Panel(x, _decades("times the serial loss", 0.5, HIGHEST * 1.5), (*layers, rule), problem)


def _ratios(name: str, hue: Hue, found: Sequence[lemma1.Line]) -> Points:
    heights = tuple(min(line.ratio, HIGHEST) for line in found)
    marks: tuple[Mark, ...] = tuple("above" if line.ratio > HIGHEST else "filled" for line in found)
    low = tuple(min(line.low, HIGHEST) if line.low > 0 else None for line in found)
    hover = tuple(f"B = {line.batch_size}: {number(line.ratio)}" for line in found)
    return Points(name, hue, tuple(line.delta for line in found), heights, low, heights, marks=marks, hover=hover)


def initialisations() -> tuple[Chart, str]:
    """B_S of initial nets from wide to deep under four initialisations; linear nets, and ReLU nets."""
    lines = json.loads((RESULTS / "initialisations.json").read_text())
    studies = {"chen2018-figure2": "linear nets, synthetic", "chen2018-figure3b": "ReLU nets, MNIST"}
    every = [bound for line in lines["lines"] for bound in line["bounds"]]
    depths = list(dict.fromkeys(line["depth"] for line in lines["lines"]))
    x, y = categories("hidden layers", [str(depth) for depth in depths]), doubling("B_S at the start (examples)", every)
    panels = tuple(
        Panel(x, y, tuple(_of_schemes([line for line in lines["lines"] if line["study"] == study])), name)
        for study, name in studies.items()
    )
    of = f"geometric mean of {lines['seeds']} nets; bars: all of them"
    caption = f"Nets of 16 384 weights, exact over the training set. Points: {of}."
    return Chart("Gradient diversity of initial nets", caption, panels, legend="initial weights"), "nothing is trained"


def _of_schemes(lines: Sequence[dict[str, Any]]) -> Iterator[Points | Line]:
    """One series of points a scheme, joined, from wide to deep."""
    schemes = list(dict.fromkeys(line["initialisation"] for line in lines))
    for rank, scheme in enumerate(schemes):
        mine = [line for line in lines if line["initialisation"] == scheme]
        heights, places = tuple(line["mean"] for line in mine), tuple(float(k) for k in range(len(mine)))
        low, high = (tuple(pick(line["bounds"]) for line in mine) for pick in (min, max))
        yield Line("", Hue(rank, len(schemes)), places, heights, group=scheme)
        yield Points(scheme, Hue(rank, len(schemes)), places, heights, low, high, group=scheme)


def changes_figure() -> tuple[Chart, str]:
    """What each change to a deep net buys against the plain one: epochs at the same batch size, and two thresholds."""
    found = changes.bought()
    bars: dict[str, list[Bar | None]] = {
        "epochs saved at the same batch size": [_bar(one.epochs.mean_ratio, one.epochs.interval) for one in found],
        "B_crit": [_bar_of(one.critical) for one in found],
        "largest batch within 40 epochs": [_bar_of(one.within) for one in found],
    }
    x = categories("", [changes.WORDS[one.name] for one in found])
    y = replace(doubling("times the plain deep net's", FRAME), limits=FRAME)
    layers = tuple(_series(name, Hue(k, len(bars)), 0.22 * (k - 1), of) for k, (name, of) in enumerate(bars.items()))
    rule = Line("", "ink", (-0.5, len(found) - 0.5), (1.0, 1.0), style="dashed")
    caption = (
        "Ten layers of 17 units and one change each, all of 4000 weights, step sizes tuned. Bars 95 %, to the frame "
        "where they have no end. Open triangles: bounds, where a threshold lies outside the batch sizes tested."
    )
    chart = Chart("What buys a deep net larger batches", caption, (Panel(x, y, (*layers, rule)),), legend="compared by")
    return chart, f"digits to 96 %, {results(CHANGES).studies[0].num_seeds} seeds a batch size"


def initial_weights_figure() -> tuple[Chart, str]:
    """The largest batch of 20 nets against B_S (a) of the initial nets and (b) after two epochs, scheme by scheme."""
    found, sizes = initial_weights.nets(), batch_sizes(WEIGHTS)
    x = doubling("B_S (examples)", [bound for net in found for bound in (net.start, net.early)])
    y = log_axis("largest batch within 20 epochs", sizes, margin=1.7)
    of = {"(a) B_S at the start": initial_weights.start_of, "(b) after two epochs": initial_weights.early_of}
    ends = sizes[0], sizes[-1]
    panels = tuple(Panel(x, y, tuple(_of_nets(found, pick, ends)), title) for title, pick in of.items())
    caption = (
        "Nets of 4000 weights, 1 to 10 hidden layers (joined from wide to deep), step sizes tuned. B_S: geometric "
        f"mean over seeds; in (b) of the runs at B = {sizes[0]} that got there. {OUTSIDE}"
    )
    return Chart("Which B_S tells the batch", caption, panels, legend="initial weights"), "digits to 96 %, five seeds"


def _of_nets(found: Sequence[Net], pick: Callable[[Net], float], ends: tuple[float, float]) -> Iterator[Points | Line]:
    """One series of points a scheme, joined from wide to deep."""
    schemes = list(dict.fromkeys(net.scheme for net in found))
    for rank, scheme in enumerate(schemes):
        mine = [net for net in found if net.scheme == scheme and not math.isnan(pick(net))]
        places = tuple(pick(net) for net in mine)
        heights = tuple(min(max(net.largest, ends[0]), ends[1]) for net in mine)
        marks: tuple[Mark, ...] = tuple(
            "above" if net.largest == math.inf else "below" if net.largest == 0 else "filled" for net in mine
        )
        yield Line("", Hue(rank, len(schemes)), places, heights, group=scheme, opacity=50)
        yield Points(scheme, Hue(rank, len(schemes)), places, heights, marks=marks, group=scheme)


class Bar(NamedTuple):
    """A ratio and its interval as drawn, and whether it is a bound."""

    value: float
    low: float
    high: float
    mark: Mark


def _bar(value: float, interval: tuple[float, float], mark: Mark = "filled") -> Bar:
    low, high = interval
    return Bar(value, min(max(low, FRAME[0]), value), max(min(high, FRAME[1]), value), mark)


def _bar_of(verdict: Verdict) -> Bar | None:
    """None where the ratio of two thresholds is not known, and where both lie outside on the same side."""
    least, most = ratio_bounds(verdict.first, verdict.second)
    if math.isnan(least) or (least <= 0 and most == math.inf):
        return None
    if least == most:
        return _bar(least, verdict.ratio_interval)
    return _bar(least, verdict.ratio_interval, "above") if least > 0 else _bar(most, verdict.ratio_interval, "below")


def _series(name: str, hue: Hue, shift: float, bars: Sequence[Bar | None]) -> Points:
    known = [(place + shift, bar) for place, bar in enumerate(bars) if bar is not None]
    return Points(
        name,
        hue,
        tuple(place for place, _ in known),
        tuple(bar.value for _, bar in known),
        tuple(bar.low for _, bar in known),
        tuple(bar.high for _, bar in known),
        marks=tuple(bar.mark for _, bar in known),
    )


def _decades(title: str, low: float, high: float) -> Axis:
    ends = range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)
    return replace(log_axis(title, [10.0**k for k in ends]), limits=(low, high))


VIEWS = {"figure3": "epochs", "figure4": "heat_map", "figure5": "largest_batch"}  # of one run of a panel
FIGURES: dict[str, Callable[[], tuple[Chart, str]]] = {
    "figure1": functools.partial(of_report, FIGURE1, "epochs"),
    "figure2": functools.partial(figure2, LINEAR),
    "figure2-raced": functools.partial(figure2, LINEAR_TUNED),
    "figure2-mnist": lambda: of_report(MNIST, "diversity"),
    **{f"{view}a": functools.partial(of_report, LINEAR, chart) for view, chart in VIEWS.items()},
    **{f"{view}b": functools.partial(of_report, MNIST, chart) for view, chart in VIEWS.items()},
    "figure3a-raced": functools.partial(of_report, LINEAR_TUNED, VIEWS["figure3"]),
    "lemma1": lemma1_ratios,
    "initialisations": initialisations,
    "initial_weights": initial_weights_figure,
    "changes": changes_figure,
}
DOCUMENTED = (
    *FIGURES,
    *(f"{view}b-raced" for view in VIEWS),
    "figure3c-raced",
    "figure4c-raced",
    "figure3c-letters-raced",
    "figure3d-like-raced",
    "figure3c-ends",
    "figure3c-adam",
    *(f"{view}c" for view in VIEWS),
    *(f"{view}c-letters" for view in VIEWS),
    *(f"{view}d-like" for view in VIEWS),
    "figure3e-coarse",
    "figure3e-small",
    "figure3g-small",
    *(f"figure3{panel}-night" for panel in "fgh"),
)
FIGURES |= {
    directory.replace("figure3", view): functools.partial(of_report, given, chart)
    for given, directory in RUNS.items()
    if directory.startswith("figure3")
    for view, chart in VIEWS.items()
}


def draw(name: str, directory: Path) -> Path:
    """Draw one figure as a PNG; returns the file."""
    chart, subtitle = FIGURES[choose("figure", name, FIGURES)]()
    return static.write(chart, directory / f"{name}.png", subtitle)


def write(one: Digest, chart: str, file: Path) -> Path:
    """Draw a chart of the report."""
    found, subtitle = described(one, chart)
    return static.write(found, file, subtitle)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="FIGURE", help=f"of {', '.join(FIGURES)}")
    parser.add_argument("--all", action="store_true", help="without names: all of them")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args(words)
    for name in arguments.names or (FIGURES if arguments.all else DOCUMENTED):
        print(draw(name, arguments.out))


if __name__ == "__main__":
    raise SystemExit(ended("figures", main))
