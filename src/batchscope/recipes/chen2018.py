"""The experiments of Chen et al., "The Effect of Network Width on the Performance of Large-batch Training" (2018).

The paper gives the data sets and their sizes, the families, the budgets and targets (its Table 1), depths 1 to 10, the
batch sizes 2^5 to 2^12, the rule of tuning (two epochs, lowest training loss), the average of five runs, and Keras.
What it does not give is ours and listed in each study's `assumptions`, which every output repeats.

A variant changes some of those assumptions, for every figure alike: ``figure3("b", variant="adam")``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from batchscope.architectures.architecture import Architecture
from batchscope.errors import InputError, closest
from batchscope.recipes.panels import (
    ACCURACY,
    BUDGET,
    COMMON,
    GRID,
    INPUTS,
    MNIST,
    OPTIMIZER,
    ORDER,
    PANELS,
    POINTS,
    RELU,
    SIZE,
    WEIGHTS,
    form,
)
from batchscope.recipes.variants import VARIANTS as VARIANTS
from batchscope.recipes.variants import varied
from batchscope.studies import StepSizes, Study

DEPTHS = tuple(range(1, 11))
BATCH_SIZES = (32, 64, 128, 256, 512, 1024, 2048, 4096)

# Figures without runs of their own.
VIEWS = {
    "chen2018/figure4": "after `batchscope run chen2018/figure3b --out DIR`, `batchscope report DIR --figures DIR`",
    "chen2018/figure5": "after `batchscope run chen2018/figure3b --out DIR`, `batchscope report DIR --definition "
    "'within_epochs(20)'`",
}


def figure1(variant: str = "") -> Study:
    """Epochs to 96 % against batch size on MNIST, ReLU nets of several widths and depths: shapes of `figure3("b")`.

    About 40 minutes on two cores.
    """
    return _study(
        variant,
        name="chen2018-figure1",
        **MNIST,
        depths=(1, 4, 7, 10),
        max_epochs=250,
        assumptions=(
            *(SIZE, GRID, OPTIMIZER, ORDER, INPUTS, WEIGHTS, ACCURACY, POINTS),  # its caption states ReLU
            "at most 250 epochs: not stated",
            "depths 1, 4, 7, 10: the figure's depths are not in the text",
        ),
    )


def figure2(variant: str = "") -> Study:
    """Gradient diversity (a), the largest batch that reaches a loss of 1e-12 within 14 epochs (b), and both (c).

    Linear nets on the synthetic set; gradient diversity every ten epochs, averaged. Runs of one to three epochs are
    most of them, so the target is checked ten times an epoch. The same runs are Figure 3(a). About 10 minutes.
    """
    return _study(
        variant,
        name="chen2018-figure2",
        **PANELS["a"] | {"depths": DEPTHS, "diversity_every": 10},
    )


def figure2_mnist(variant: str = "") -> Study:
    """Figure 2 asked of MNIST, ours: the runs of `figure3("b")`, gradient diversity every 5 epochs. 35 minutes."""
    return _study(
        variant,
        name="chen2018-figure2-mnist",
        **MNIST,
        depths=DEPTHS,
        diversity_every=5,
        assumptions=(*COMMON, RELU, ACCURACY, POINTS, "MNIST in place of the synthetic set, every 5 epochs: ours"),
    )


def figure3(panel: str, dataset: str | None = None, scale: str | None = None, variant: str = "") -> Study:
    """Epochs to the target over depth and batch size; panel "a" to "h", or "c-letters".

    a: synthetic (10 000 points), linear nets of 16 384 weights, to a training loss of 1e-12.
    b: MNIST, 16 384 weights, to 96 %.   c: EMNIST with 47 classes, 16 384 weights, to 65 %.
    c-letters: ours, the same on EMNIST Letters (26 classes).
    d: Gisette, 262 144 weights, to 95 %.
    e: MNIST, LeNet, 431 080 parameters, its fully-connected part of 1 to 10 hidden layers, to 98 %.
    f: CIFAR-10, ResNet-18, 11.3 million parameters, a fully-connected part of 1 to 10 hidden layers, to 95 %.
    g: CIFAR-10, ResNet-18, 11.2 million parameters, 1 to 4 blocks in each chunk, to 95 %.
    h: CIFAR-10, ResNet-34, 21.3 million parameters, one or two blocks less or more in each chunk, to 95 %.
    scale: "small" for the form of a convolutional panel that two cores finish in half an hour: fewer examples,
    shapes, batch sizes and filters, and fewer seeds of (e). "night" for that of (f) to (h) on eight times the
    examples, with three seeds: one to two hours each. Every output says so.
    dataset: another data set in place of the panel's, such as "gisette_like", generated, where the files of Gisette
    cannot be had; every output then says so.
    variant: a name in VARIANTS. What is assumed: the study's `assumptions`.
    Figures 4 and 5 are views of the same runs. About 30 minutes each of (b) to (d) on two cores, 10 of (a); for the
    others see `batchscope recipes`.
    """
    if panel not in PANELS:
        raise InputError(f"figure 3 has no panel {panel!r}: {closest(panel, PANELS)}")
    values = {"name": f"chen2018-figure3{panel}", "depths": DEPTHS} | PANELS[panel]
    if scale is not None:
        values |= form(panel, scale)
    if dataset is None or dataset == values["dataset"]:
        return _study(variant, **values)
    instead = {
        "name": f"{values['name']}-{dataset}",
        "dataset": dataset,
        "scaled": f"on {dataset!r} in place of the paper's {values['dataset']!r}",
    }
    return _study(variant, **values | instead)


def _study(variant: str, **values: Any) -> Study:
    common: dict[str, Any] = {
        "batch_sizes": BATCH_SIZES,
        "max_epochs": 100,
        "num_seeds": 5,
        "protocol": "paper2018",
        "step_sizes": StepSizes(min=0.01, max=2.56, ratio=2.0),
    }
    return Study(**varied(variant, common | values))


@dataclass(frozen=True)
class Table1Row:
    """One experiment of the paper's Table 1.

    points: as the paper counts them. parameters: of the model by our closed forms, biases included, from wide to
    deep. stated: the paper's own figure.
    """

    dataset: str
    points: int
    model: str
    classes: int | None
    stated: str
    parameters: tuple[int, int]
    target: str
    recipe: str


def table1() -> tuple[Table1Row, ...]:
    """Return the paper's Table 1: data set, points, model, classes, parameters, target, and our recipe for it."""
    return (
        Table1Row("Synthetic", 10_000, "linear FC", None, "16k", _parameters(100, 1, BUDGET), "loss 1e-12", "figure3a"),
        Table1Row("MNIST", 70_000, "FC", 10, "16k", _parameters(784, 10, BUDGET), "96 %", "figure3b"),
        Table1Row("EMNIST", 131_600, "FC", 47, "16k", _parameters(784, 47, BUDGET), "65 %", "figure3c"),
        Table1Row("Gisette", 6_000, "FC", 2, "262k", _parameters(5_000, 2, 262_144), "95 %", "figure3d"),
        Table1Row("MNIST", 70_000, "LeNet", 10, "431k", _panel_parameters("e"), "98 %", "figure3e"),
        Table1Row("CIFAR-10", 60_000, "ResNet-18", 10, "11m", _panel_parameters("f"), "95 %", "figure3f"),
        Table1Row("CIFAR-10", 60_000, "ResNet-18", 10, "11m", _panel_parameters("g"), "95 %", "figure3g"),
        Table1Row("CIFAR-10", 60_000, "ResNet-34", 10, "21m", _panel_parameters("h"), "95 %", "figure3h"),
    )


def _parameters(d_in: int, d_out: int, budget: int) -> tuple[int, int]:
    nets = [Architecture.within_budget("fully_connected", (d_in,), d_out, depth, budget) for depth in (1, 10)]
    return nets[0].num_parameters, nets[1].num_parameters


def _panel_parameters(panel: str) -> tuple[int, int]:
    study = figure3(panel)
    shape = (1, 28, 28) if study.dataset == "mnist" else (3, 32, 32)
    assert study.depths is not None
    assert study.budget is not None
    ends = (study.depths[0], study.depths[-1])
    nets = [Architecture.within_budget(study.family, shape, 10, depth, study.budget) for depth in ends]
    return nets[0].num_parameters, nets[1].num_parameters
