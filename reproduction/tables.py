"""The tables of docs/reproduction.md, each from the committed rows; `python -m reproduction.page` fills them in."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

from batchscope.analysis import Correlation, batch_threshold, compare
from batchscope.analysis.cells import Cell, cells
from batchscope.analysis.findings import correlate, diversities
from batchscope.analysis.formatting import number, probability_text
from batchscope.analysis.summaries import BELOW
from batchscope.architectures import Architecture
from batchscope.recipes import chen2018
from batchscope.records import Outcome, Rows
from batchscope.studies import Results
from reproduction import assumptions, changes, easier_target, held_out, initial_weights, lemma1, panel_c, processors
from reproduction.evidence import (
    ADAM,
    ASSUMPTIONS,
    CHANGES,
    CONSTANT_DEPTH,
    CONSTANT_WIDTH,
    EMNIST,
    EMNIST_ADAM,
    EMNIST_GRID,
    EMNIST_MOMENTUM,
    EMNIST_TUNED,
    EMNIST_WHOLE,
    EMNIST_WHOLE_TUNED,
    FIGURE1,
    GISETTE_LIKE,
    GISETTE_LIKE_TUNED,
    LENET,
    LENET_SMALL,
    LETTERS,
    LETTERS_AGAIN,
    LETTERS_FINE,
    LETTERS_TUNED,
    LINEAR,
    LINEAR_TUNED,
    MNIST,
    MNIST_TUNED,
    MOMENTUM,
    NOT_WHOLE,
    RESNET18_BLOCKS,
    RESNET18_BLOCKS_NIGHT,
    RESNET18_BLOCKS_TUNED,
    RESNET18_HEAD,
    RESNET18_HEAD_NIGHT,
    RESNET34_BLOCKS,
    RESNET34_BLOCKS_NIGHT,
    RESULTS,
    RULES,
    at_the_start,
    is_run,
    results,
    typical,
    with_interval,
)
from reproduction.markdown import filled, table
from reproduction.small_studies import named

PAGE = Path(__file__).parent.parent / "docs" / "reproduction.md"
Lines = list[str]


def text() -> str:
    """The page with its tables as the rows give them."""
    return filled(PAGE.read_text(encoding="utf-8"), TABLES)


def epochs_of(rows: Results, words: Callable[[Cell], str], head: str = "L x K") -> Lines:
    """One line a shape, wide to deep, one column a batch size."""
    found = cells(rows.rows)
    sizes = sorted({cell.batch_size for cell in found})
    shapes: dict[str, dict[int, str]] = {}
    for cell in found:
        shapes.setdefault(f"{cell.depth} x {cell.width}", {})[cell.batch_size] = words(cell)
    lines = [(shape, *(at.get(size, "-") for size in sizes)) for shape, at in shapes.items()]
    return table((head, *(f"B = {size}" for size in sizes)), lines)


def median_or_count(cell: Cell) -> str:
    """Median epochs where all runs arrived, or the bound of it; else how many did."""
    if cell.epochs is not None and cell.epochs.bound == BELOW:
        return cell.epochs_text
    if cell.reached == cell.num_seeds:
        return number(round(typical(cell), 1))
    return f"{cell.reached} of {cell.num_seeds}" if cell.reached else "never"


def outcomes_mnist() -> Lines:
    """What became of the reported runs."""
    rows = results(MNIST)
    finals, found = Rows.of(rows.rows).where(phase="final"), list(cells(rows.rows))
    counts = ", ".join(f"{len(finals.where(outcome=one))} {one.value}" for one in Outcome)
    lost = [cell for cell in found if cell.reached < cell.num_seeds]
    return [
        f"Outcomes of the {len(finals)} reported runs: {counts}. Runs were lost in {len(lost)} of {len(found)} cells "
        f"(shape, batch size), the smallest of them at B = {min(cell.batch_size for cell in lost)}; "
        f"{sum(cell.at_grid_edge for cell in found)} of the step sizes lie at the edge of their grid."
    ]


QUESTIONS = {
    "within_epochs(20)": "largest batch that arrives within 20 epochs",
    "within_epochs(50)": "largest batch that arrives within 50 epochs",
    "paper2018": "largest batch without slow-down against the best smaller one",
    "overhead_20": "20 % more steps than linear scaling",
    "b_crit": "twice the fewest steps",
}


def questions_mnist() -> Lines:
    """Which shape takes the larger batch, definition by definition."""
    rows, lines = results(MNIST), []
    verdicts = [(words, name, compare(rows, definition=name)) for name, words in QUESTIONS.items()]
    verdicts.append(("largest batch at equal training FLOPs", "within_flops", compare(rows, equal="flops")))
    for words, name, one in verdicts:
        ends = (f"{end.text} {end.interval_text}".strip() for end in (one.first, one.second))
        lines.append((f"{words} (`{name}`)", *ends, one.ratio_text or "-", probability_text(one.probability)))
    return table(("question (definition)", "1 x 21", "10 x 17", "ratio", "P(wide takes the larger batch)"), lines)


def bounds_mnist() -> Lines:
    """B_S at equal epochs after the start, and at the start."""
    along, start = diversities(results(MNIST)), at_the_start(MNIST)
    lines = [
        (shape, f"{along[shape].text} {along[shape].interval_text}", number(round(start[shape]))) for shape in start
    ]
    return table(("shape", "B_S along training", "B_S at the start"), lines)


def correlations_mnist() -> Lines:
    """B_S along training against the threshold, definition by definition."""
    bounds, rows = diversities(results(MNIST)), results(MNIST)
    found = [(name, correlate(bounds, batch_threshold(rows, name))) for name in QUESTIONS]
    return table(("threshold", "rank correlation with B_S", "P(positive)"), [_correlated(*one) for one in found])


def _correlated(name: str, one: Correlation) -> tuple[str, str, str]:
    return f"`{name}`", one.short.removeprefix("rank correlation "), probability_text(one.probability)


def both_rules() -> Lines:
    """The two-epoch rule and tuning, one under the other."""
    lines: Lines = []
    for name, rows in named(RULES, "beyond-rule-").items():
        lines += [f"*{name.replace('-', ' ')}*", "", *epochs_of(rows, with_interval), ""]
    return lines[:-1]


def changes_table() -> Lines:
    """What each change to a deep net buys."""
    heads = ("change", "epochs saved, times", "P", "B_crit, times", "P", "largest batch within 40 epochs, times", "P")
    return table(heads, [one.words for one in changes.bought()])


def changes_epochs() -> Lines:
    """Epochs of the plain net and of every change."""
    lines = []
    for name in changes.sweeps():
        found = cells(named(CHANGES, "beyond-")[name].rows)
        lines.append((changes.WORDS.get(name, "none"), *(with_interval(cell) for cell in found)))
    sizes = sorted({cell.batch_size for cell in found})
    return table(("change", *(f"B = {size}" for size in sizes)), lines)


def weights_table() -> Lines:
    """Largest batch, B_S at the start and after two epochs, of every shape under every scheme."""
    lines = [
        (net.scheme, str(net.depth), number(net.start), number(net.early), _size(net.largest))
        for net in initial_weights.nets()
    ]
    return table(("weights", "L", "B_S at the start", "after two epochs", "largest batch within 20 epochs"), lines)


def _size(value: float) -> str:
    return "below 16" if value == 0 else "beyond 1024" if value == math.inf else number(round(value))


def initial_bounds() -> Lines:
    """B_S of initial nets, from results/initialisations.json."""
    found = json.loads((RESULTS / "initialisations.json").read_text())["lines"]
    at = {(line["study"], line["initialisation"], line["depth"]): line["mean"] for line in found}
    of = {"chen2018-figure2": "linear, synthetic", "chen2018-figure3b": "ReLU and cross-entropy, MNIST"}
    lines = [
        (nets, scheme, *(number(at[study, scheme, depth]) for depth in (1, 2, 5, 10)))
        for study, nets in of.items()
        for scheme in dict.fromkeys(scheme for one, scheme, _ in at if one == study)
    ]
    return table(("nets and data", "weights", "L = 1", "2", "5", "10"), lines)


def gisette_table() -> Lines:
    """Marginals of the real rows beside those of the stand-in, from results/gisette.json."""
    found = json.loads((RESULTS / "gisette.json").read_text())
    lines = [
        (name, number(real), f"{number(min(drawn))} to {number(max(drawn))}")
        for name, real in found["real"].items()
        if (drawn := [one[name] for one in found["stand_ins"]])
    ]
    heads = (f"of {found['rows']} rows", "Gisette", f"`gisette_like`, {len(found['stand_ins'])} draws")
    return table(heads, lines)


def held_out_table() -> Lines:
    """Held-out error of every committed study of classes."""
    lines = [
        (name, str(one.n), f"{number(one.error)} %", str(one.by_size), str(one.by_depth))
        for name, one in held_out.everywhere()
    ]
    return table(("study", "runs", "held-out error", "points for twice the batch", "for twice the depth"), lines)


PANELS = {
    "e": ("LeNet, fully-connected part", (1, 28, 28)),
    "f": ("ResNet-18, fully-connected part", (3, 32, 32)),
    "g": ("ResNet-18, blocks", (3, 32, 32)),
    "h": ("ResNet-34, blocks", (3, 32, 32)),
}


def full_shapes() -> Lines:
    """The shapes of the convolutional panels with their parameters, counted exactly."""
    lines = []
    for panel, (name, shape) in PANELS.items():
        study = chen2018.figure3(panel)
        assert study.budget is not None
        nets = (
            Architecture.within_budget(study.family, shape, 10, depth, study.budget) for depth in study.depths or ()
        )
        listed = ", ".join(f"{net.label.partition(' ')[2]} ({net.num_parameters})" for net in nets)
        lines.append((f"({panel}) {name}", str(study.budget), listed))
    return table(("panel", "budget", "shapes, wide to deep (parameters)"), lines)


def lemma1_table() -> Lines:
    """Of each network and step size: where the promise of Lemma 1 is kept, and its first break."""
    heads = (
        "nets",
        "γ",
        "L",
        "least B_S, B = 2",
        "not broken, δ <= 1",
        "not broken, δ > 1",
        "first break beyond chance, times the serial loss",
    )
    of: dict[tuple[str, float, int], list[lemma1.Line]] = {}
    for line in lemma1.committed():
        of.setdefault((line.problem, line.sum_step_size, line.depth), []).append(line)
    return table(heads, [(name, number(γ), str(depth), *_kept(found)) for (name, γ, depth), found in of.items()])


def _kept(found: list[lemma1.Line]) -> tuple[str, ...]:
    parts = [line for line in found if line.delta <= 1], [line for line in found if line.delta > 1]
    counts = (f"{sum(not line.broken for line in part)} of {len(part)}" for part in parts)
    broken = next((line for line in found if line.broken), None)
    return (number(found[0].least_bound), *counts, _break(broken) if broken else "none")


def _break(line: lemma1.Line) -> str:
    times = number(line.ratio) if line.ratio < 1000 else "over 1000"
    return f"B = {line.batch_size}: {times}, {number(line.promise)} promised (δ = {number(line.delta)})"


def once_run(given: str, lines: Callable[[], Lines]) -> Callable[[], Lines]:
    """The lines, once their runs are there."""
    return lambda: lines() if is_run(given) else [f"{NOT_WHOLE.capitalize()}."]


def medians(given: str) -> Callable[[], Lines]:
    """Median epochs of a whole panel."""
    return once_run(given, lambda: epochs_of(results(given), median_or_count))


def of_variant(given: str, head: str = "L x K") -> Callable[[], Lines]:
    """Epochs of a variant of a panel."""
    return once_run(given, lambda: epochs_of(results(given), with_interval, head))


TABLES: dict[str, Callable[[], Lines]] = {
    "figure1": medians(FIGURE1),
    "epochs-linear": medians(LINEAR),
    "epochs-mnist": medians(MNIST),
    "outcomes-mnist": outcomes_mnist,
    "questions-mnist": questions_mnist,
    "bounds-mnist": bounds_mnist,
    "correlations-mnist": correlations_mnist,
    "adam": of_variant(ADAM),
    "momentum": of_variant(MOMENTUM),
    "mnist-tuned": medians(MNIST_TUNED),
    "assumptions": once_run(ASSUMPTIONS, assumptions.lines),
    "easier-target": easier_target.lines,
    "emnist": of_variant(EMNIST),
    "emnist-runs": lambda: panel_c.runs(EMNIST),
    "emnist-grid": of_variant(EMNIST_GRID),
    "emnist-grid-runs": lambda: panel_c.runs(EMNIST_GRID),
    "emnist-tuned": of_variant(EMNIST_TUNED),
    "emnist-tuned-runs": lambda: panel_c.runs(EMNIST_TUNED),
    "emnist-adam": of_variant(EMNIST_ADAM),
    "emnist-momentum": of_variant(EMNIST_MOMENTUM),
    "emnist-whole": medians(EMNIST_WHOLE),
    "emnist-whole-tuned": medians(EMNIST_WHOLE_TUNED),
    "letters": medians(LETTERS),
    "letters-tuned": medians(LETTERS_TUNED),
    "letters-fine": of_variant(LETTERS_FINE),
    "processors": once_run(LETTERS_AGAIN, processors.lines),
    "gisette-like": medians(GISETTE_LIKE),
    "gisette-like-tuned": medians(GISETTE_LIKE_TUNED),
    "linear-tuned": medians(LINEAR_TUNED),
    "rules": both_rules,
    "constant-depth": of_variant(CONSTANT_DEPTH),
    "constant-width": of_variant(CONSTANT_WIDTH),
    "changes": changes_table,
    "changes-epochs": changes_epochs,
    "initial-bounds": initial_bounds,
    "initial-weights": weights_table,
    "gisette": gisette_table,
    "held-out": held_out_table,
    "lemma1": lemma1_table,
    "full-shapes": full_shapes,
    "lenet": of_variant(LENET),
    "lenet-small": of_variant(LENET_SMALL),
    "resnet18-head-small": of_variant(RESNET18_HEAD),
    "resnet18-blocks-small": of_variant(RESNET18_BLOCKS, "blocks x filters"),
    "resnet34-blocks-small": of_variant(RESNET34_BLOCKS, "blocks x filters"),
    "resnet18-head-night": of_variant(RESNET18_HEAD_NIGHT),
    "resnet18-blocks-night": of_variant(RESNET18_BLOCKS_NIGHT, "blocks x filters"),
    "resnet18-blocks-tuned": of_variant(RESNET18_BLOCKS_TUNED, "blocks x filters"),
    "resnet34-blocks-night": of_variant(RESNET34_BLOCKS_NIGHT, "blocks x filters"),
}
