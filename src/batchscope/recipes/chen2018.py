"""The experiments of Chen et al., "The Effect of Network Width on the Performance of Large-batch Training" (2018).

The paper gives the data sets and their sizes, the families, the budgets and targets (its Table 1), depths 1 to 10, the
batch sizes 2^5 to 2^12, the rule of tuning (two epochs, lowest training loss), the average of five runs, and Keras.
What it does not give is ours and listed in each study's `assumptions`, which every output repeats.

A variant changes some of those assumptions, for every figure alike: ``figure3("b", variant="adam")``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from batchscope.architectures.architecture import Architecture
from batchscope.errors import InputError, choose, closest
from batchscope.studies import StepSizes, Study

# The paper's "16k" read as 2^14, as its 262k is 2^18: gives the widths 21 to 17 its text names for MNIST.
BUDGET = 16_384
DEPTHS = tuple(range(1, 11))
BATCH_SIZES = (32, 64, 128, 256, 512, 1024, 2048, 4096)

_GRID = "step sizes 0.01 to 2.56 by factors of 2, widened where the best is at an edge: the paper's grid is not public"
_WIDENED = "widened at an edge: the paper's grid is not public"
_GRID_OF_A = f"step sizes 0.001 to 0.512 by factors of 2, {_WIDENED}"
_OPTIMIZER = "plain SGD without momentum: the optimizer is not stated beyond mini-batch SGD"
_INPUTS = "inputs standardised: not stated"
_WEIGHTS = "Glorot-uniform weights (Keras' default) and biases: not stated"
_ACCURACY = "training accuracy at the end of an epoch: Keras prints its average over the epoch"
_EPOCHS = "at most 100 epochs: not stated"
_SIZE = "a budget of 16 384 = 2^14 weights for 16k: it gives the widths 21 to 17 of the text"
_COMMON = (_SIZE, _GRID, _OPTIMIZER, _INPUTS, _WEIGHTS, _EPOCHS)
_RELU = "ReLU activations: the activations of Figure 3 are not stated"
_EMNIST47 = "EMNIST-47 (reduced), 37 600 training images, in place of EMNIST Balanced with 131 600 points"
_POINTS = "trained on the 60 000 training images: the paper counts 70 000, training and test together"


@dataclass(frozen=True)
class Variant:
    """Another choice where the paper is silent, or a part of a figure.

    changes: keys of the study; a function takes the value that was there. said: assumption -> what replaces it.
    scaled: how it is a part only.
    """

    changes: Mapping[str, Any]
    said: Mapping[str, str] = field(default_factory=dict)
    scaled: str = ""


def _optimizer(text: str, low: float, high: float, **changes: Any) -> Variant:
    grid = StepSizes(min=low, max=high, ratio=2.0)
    said = {_OPTIMIZER: f"{text}: the optimizer is not stated beyond mini-batch SGD"}
    said |= dict.fromkeys((_GRID, _GRID_OF_A), f"step sizes {low:g} to {high:g} by factors of 2, {_WIDENED}")
    return Variant({"step_sizes": grid} | changes, said)


def _weights(text: str, name: str, **changes: Any) -> Variant:
    return Variant({"initialisation": name} | changes, {_WEIGHTS: f"{text} weights, biases 0: not stated"})


def _part(depths: tuple[int, ...], batch_sizes: tuple[int, ...], num_seeds: int) -> Variant:
    changes = {"depths": _some(depths), "batch_sizes": _some(batch_sizes), "num_seeds": num_seeds}
    return Variant(changes, scaled=f"depths {list(depths)}, batch sizes {list(batch_sizes)} and {num_seeds} seeds only")


def _some(kept: tuple[int, ...]) -> Callable[[tuple[int, ...]], tuple[int, ...]]:
    def choose_from(there: tuple[int, ...]) -> tuple[int, ...]:
        if not set(kept) <= set(there):
            raise InputError(f"a part of {list(kept)} was asked for, but the figure has {list(there)} only")
        return kept

    return choose_from


def _running(target: Mapping[str, float]) -> dict[str, float]:
    return {"train_accuracy_running": target["train_accuracy"]}


VARIANTS: dict[str, Variant] = {
    "momentum": _optimizer("SGD with momentum 0.9", 0.001, 0.256, momentum=0.9),
    "nesterov": _optimizer("SGD with Nesterov's momentum 0.9", 0.001, 0.256, optimizer="nesterov", momentum=0.9),
    "adam": _optimizer("Adam", 0.0001, 0.0256, optimizer="adam"),
    "rmsprop": _optimizer("RMSprop", 0.0001, 0.0256, optimizer="rmsprop"),
    "adadelta": _optimizer("Adadelta", 0.0625, 16.0, optimizer="adadelta"),
    "tuned": Variant({"protocol": "tuned"}),
    "he": _weights("He", "he"),
    "fan_in": _weights("N(0, 1 / fan_in)", "fan_in"),
    "unit": Variant({"inputs": "unit"}, {_INPUTS: "inputs in [0, 1]: not stated"}),
    "running": Variant(
        {"target": _running}, {_ACCURACY: "training accuracy over an epoch's batches, as Keras prints it"}
    ),
    "three_passes": Variant(  # 250: the text has 211 epochs
        {"passes_per_epoch": 3, "max_epochs": 250},
        {
            _EPOCHS: "at most 250 epochs: not stated",
            _EMNIST47: f"{_EMNIST47}; three passes over them are an epoch, which has the steps of Balanced's 112 800",
        },
    ),
    "coarse": _part((1, 3, 10), (64, 256, 1024, 4096), 3),
    "ends": _part((1, 10), (256, 1024, 4096), 3),
}


# Figures without runs of their own.
VIEWS = {
    "chen2018/figure4": "after `batchscope run chen2018/figure3b --out DIR`, `batchscope report DIR --figures DIR`",
    "chen2018/figure5": "after `batchscope run chen2018/figure3b --out DIR`, `batchscope report DIR --definition "
    "'within_epochs(20)'`",
}


def figure1(variant: str = "") -> Study:
    """Epochs to 96 % against batch size on MNIST for several widths and depths: the shapes of `figure3("b")`, to 250.

    About 40 minutes on two cores.
    """
    return _study(
        variant,
        name="chen2018-figure1",
        **_MNIST,
        depths=(1, 4, 7, 10),
        max_epochs=250,
        assumptions=(
            *(_SIZE, _GRID, _OPTIMIZER, _INPUTS, _WEIGHTS, _RELU, _ACCURACY, _POINTS),
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
        **_PANELS["a"] | {"depths": DEPTHS, "diversity_every": 10},
    )


def figure2_mnist(variant: str = "") -> Study:
    """Figure 2 asked of MNIST, ours: the runs of `figure3("b")`, gradient diversity every 5 epochs. 35 minutes."""
    return _study(
        variant,
        name="chen2018-figure2-mnist",
        **_MNIST,
        depths=DEPTHS,
        diversity_every=5,
        assumptions=(*_COMMON, _RELU, _ACCURACY, _POINTS, "MNIST in place of the synthetic set, every 5 epochs: ours"),
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
    scale: "small" for the form of a convolutional panel that two cores finish in under 15 minutes: fewer examples,
    shapes, batch sizes, seeds and filters. Every output says so.
    dataset: another data set in place of the panel's, such as "gisette_like", generated, where the files of Gisette
    cannot be had; every output then says so.
    variant: a name in VARIANTS. What is assumed: the study's `assumptions`.
    Figures 4 and 5 are views of the same runs. About 30 minutes each of (b) to (d) on two cores, 10 of (a); for the
    others see `batchscope recipes`.
    """
    if panel not in _PANELS:
        raise InputError(f"figure 3 has no panel {panel!r}: {closest(panel, _PANELS)}")
    values = {"name": f"chen2018-figure3{panel}", "depths": DEPTHS} | _PANELS[panel]
    if scale is not None:
        values |= _small(panel, scale)
    if dataset is None or dataset == values["dataset"]:
        return _study(variant, **values)
    instead = {
        "name": f"{values['name']}-{dataset}",
        "dataset": dataset,
        "scaled": f"on {dataset!r} in place of the paper's {values['dataset']!r}",
    }
    return _study(variant, **values | instead)


_CONV = (
    _GRID,
    _OPTIMIZER,
    "no augmentation, inputs standardised by channel: not stated",
    *(_ACCURACY, _EPOCHS),
)
_BF16 = "bf16 autocast, with weights and updates in float32: not stated"
_IMAGES = "trained on the 50 000 training images: the paper counts 60 000, training and test together"
_RESNET = (
    "the stem for 32 x 32 images, BatchNorm over the whole batch, He weights: not stated",
    _BF16,
    _IMAGES,
)
_HEAD = "131 168 parameters in the fully-connected part, 1.1 % of all: not stated, as its depths are not"
_BLOCKS_18 = "1 to 4 blocks in each chunk, the standard having 2: not stated"
_BLOCKS_34 = "up to two blocks less or more in each chunk of 3-4-6-3: not stated"
_FULL_SIZE = (_GRID, _EPOCHS, _POINTS, _BF16, _IMAGES, _HEAD, _BLOCKS_18, _BLOCKS_34)
_CIFAR: dict[str, Any] = {
    "dataset": "cifar10",
    "target": {"train_accuracy": 0.95},
    "initialisation": "he",
    "dtype": "bfloat16",
}

_PANELS: dict[str, dict[str, Any]] = {
    "a": {
        "dataset": "synthetic",
        "family": "linear",
        "budget": BUDGET,
        "target": {"train_loss": 1e-12},
        "dtype": "float64",
        "max_epochs": 200,
        "evaluations_per_epoch": 10,
        "step_sizes": StepSizes(min=0.001, max=0.512, ratio=2.0),
        "assumptions": (
            *(_SIZE, _OPTIMIZER, _WEIGHTS),
            _GRID_OF_A,
            "at most 200 epochs: not stated",
            "the target checked ten times an epoch, which resolves the one to three epochs of most runs: not stated",
            "100 inputs, and a teacher with one hidden layer of 20 units: neither is stated",
            "targets divided by their standard deviation, so that the loss is relative: not stated",
            "float64, for a loss of 1e-12 is below what float32 resolves: not stated",
        ),
    },
    "b": {
        "dataset": "mnist",
        "budget": BUDGET,
        "target": {"train_accuracy": 0.96},
        "assumptions": (*_COMMON, _RELU, _ACCURACY, _POINTS),
    },
    "c": {
        "dataset": "emnist47",
        "budget": BUDGET,
        "target": {"train_accuracy": 0.65},
        "assumptions": (
            *_COMMON,
            *(_RELU, _ACCURACY),
            _EMNIST47,
        ),
    },
    "c-letters": {
        "dataset": "emnist_letters",
        "budget": BUDGET,
        "target": {"train_accuracy": 0.65},
        "scaled": "on EMNIST Letters, 26 classes, in place of the paper's 47",
        "assumptions": (*_COMMON, _RELU, _ACCURACY),
    },
    "d": {
        "dataset": "gisette",
        "budget": 262_144,
        "target": {"train_accuracy": 0.95},
        "assumptions": (
            *_COMMON,
            *(_RELU, _ACCURACY),
        ),
    },
    "e": {
        "dataset": "mnist",
        "family": "lenet",
        "budget": 431_080,
        "target": {"train_accuracy": 0.98},
        "assumptions": (
            *_CONV,
            "ReLU after every layer, and a hidden layer more or less in the fully-connected part: not stated",
            _WEIGHTS,
            _POINTS,
        ),
    },
    "f": _CIFAR
    | {
        "family": "resnet18_head",
        "budget": 11_300_000,
        "assumptions": (
            *(*_CONV, *_RESNET),
            _HEAD,
        ),
    },
    "g": _CIFAR
    | {
        "family": "resnet18_blocks",
        "budget": 11_173_962,
        "depths": (1, 2, 3, 4),
        "assumptions": (*_CONV, *_RESNET, _BLOCKS_18),
    },
    "h": _CIFAR
    | {
        "family": "resnet34_blocks",
        "budget": 21_282_122,
        "depths": (1, 2, 3, 4, 5),
        "assumptions": (*_CONV, *_RESNET, _BLOCKS_34),
    },
}

# What two cores finish in under 15 minutes. The budgets are ones that whole numbers of filters come within 3 % of.
_SMALL_RESNET: dict[str, Any] = {
    "num_examples": 512,
    "batch_sizes": (16, 64, 256),
    "max_epochs": 30,
    "num_seeds": 2,
    "step_sizes": StepSizes(min=0.02, max=0.32, ratio=4.0),
    "dtype": "float32",
}
_SMALL: dict[str, dict[str, Any]] = {
    "e": {
        "num_examples": 3000,
        "depths": (1, 3, 10),
        "batch_sizes": (32, 128, 512),
        "max_epochs": 30,
        "num_seeds": 3,
        "step_sizes": StepSizes(min=0.02, max=0.32, ratio=2.0),
    },
    "f": _SMALL_RESNET | {"depths": (1, 3, 10), "filters": 8, "budget": 190_000},
    "g": _SMALL_RESNET | {"depths": (1, 2, 3), "budget": 273_500},
    "h": _SMALL_RESNET | {"depths": (1, 5), "budget": 135_000},
}


def _small(panel: str, scale: str) -> dict[str, Any]:
    """What changes in the small form of a panel."""
    choose("scale", scale, ("small",))
    if panel not in _SMALL:
        raise InputError(
            f"panel {panel!r} of figure 3 has no small form: {closest(panel, _SMALL)} It takes 30 minutes."
        )
    small = _SMALL[panel]
    steps: StepSizes = small["step_sizes"]
    # What holds at full size only goes; what makes it small is said once.
    kept = [line for line in _PANELS[panel]["assumptions"] if line not in _FULL_SIZE]
    text = (
        f"small: {small['num_examples']} examples, {small.get('budget', _PANELS[panel]['budget'])} parameters, depths "
        f"{list(small['depths'])}, batch sizes {list(small['batch_sizes'])}, step sizes {steps.min:g} to {steps.max:g} "
        f"by factors of {steps.ratio:g}, {small['max_epochs']} epochs at most, {small['num_seeds']} seeds"
    )
    name = f"chen2018-figure3{panel}-small"
    return small | {"name": name, "scaled": text, "assumptions": (*kept, "all that makes it small")}


_MNIST: dict[str, Any] = {"dataset": "mnist", "budget": BUDGET, "target": {"train_accuracy": 0.96}}


def _study(variant: str, **values: Any) -> Study:
    common: dict[str, Any] = {
        "batch_sizes": BATCH_SIZES,
        "max_epochs": 100,
        "num_seeds": 5,
        "protocol": "paper2018",
        "step_sizes": StepSizes(min=0.01, max=2.56, ratio=2.0),
    }
    return Study(**_varied(variant, common | values))


def _varied(names: str, values: dict[str, Any]) -> dict[str, Any]:
    """The keys of a study under one variant or several, joined by "+"; its name and assumptions say so."""
    for name in filter(None, names.split("+")):
        one = VARIANTS[choose("variant", name, VARIANTS)]
        _check_said(name, one, values)
        said = tuple(one.said.get(line, line) for line in values["assumptions"])
        changed = {key: new(values[key]) if callable(new) else new for key, new in one.changes.items()}
        scaled = "; ".join(filter(None, (values.get("scaled"), one.scaled)))
        values = values | changed | {"name": f"{values['name']}-{name}", "assumptions": said, "scaled": scaled}
    return values


def _check_said(name: str, one: Variant, values: dict[str, Any]) -> None:
    """Raise InputError where a variant replaces an assumption that the figure does not make."""
    placed = {text for line, text in one.said.items() if line in values["assumptions"]}
    if placed != set(one.said.values()):
        said = [line for line, text in one.said.items() if text not in placed]
        raise InputError(f"variant {name!r} is not for {values['name']!r}, which does not assume {said[0]!r}")


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
