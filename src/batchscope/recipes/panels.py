"""Figure 3 of Chen et al. 2018 as keys of studies: what the paper gives of each panel, and what it does not, named."""

from __future__ import annotations

from typing import Any

from batchscope.errors import InputError, choose, closest
from batchscope.studies import StepSizes

# The paper's "16k" read as 2^14, as its 262k is 2^18: gives on MNIST the width of 17 at ten layers that its text names.
BUDGET = 16_384
GRID = "step sizes 0.01 to 2.56 by factors of 2, widened where the best is at an edge: the paper's grid is not public"
WIDENED = "widened at an edge: the paper's grid is not public"
GRID_OF_A = f"step sizes 0.001 to 0.512 by factors of 2, {WIDENED}"
OPTIMIZER = "plain SGD without momentum: the optimizer is not stated beyond mini-batch SGD"
INPUTS = "inputs standardised: not stated"
WEIGHTS = "Glorot-uniform weights (Keras' default) and biases: not stated"
ACCURACY = "training accuracy at the end of an epoch: Keras prints its average over the epoch"
EPOCHS = "at most 100 epochs: not stated"
SIZE = "a budget of 16 384 = 2^14 weights for 16k: with 10 classes it gives the widths 21 to 17 of the text"
SIZE_OF_D = "a budget of 262 144 = 2^18 weights for 262k"
WIDTHS_OF_C = "20 units at one layer, which 2^14 weights and so many classes give: the text of Figure 3(c) has 21"
ORDER = "every epoch in a new order, as Keras does: Eq. (3.1) draws with replacement"
TRAINED = (GRID, OPTIMIZER, ORDER, INPUTS, WEIGHTS, EPOCHS)
COMMON = (SIZE, *TRAINED)
WHICH_DATA = "the data set and model of this panel by the order of Table 1: the caption names those of (f) to (h) only"
RELU = "ReLU activations: the activations of Figure 3 are not stated"
EMNIST47 = "EMNIST-47 (reduced), 37 600 training images, in place of EMNIST Balanced with 131 600 points"
POINTS = "trained on the 60 000 training images: the paper counts 70 000, training and test together"

CONV = (GRID, OPTIMIZER, ORDER, "no augmentation, inputs standardised by channel: not stated", ACCURACY, EPOCHS)
BF16 = "bf16 autocast, with weights and updates in float32: not stated"
IMAGES = "trained on the 50 000 training images: the paper counts 60 000, training and test together"

RESNET = ("the stem for 32 x 32 images, BatchNorm over the whole batch, He weights: not stated", BF16, IMAGES)
HEAD = "131 168 parameters in the fully-connected part, 1.1 % of all: not stated, as its depths are not"
BLOCKS_18 = "1 to 4 blocks in each chunk, the standard having 2: not stated"
BLOCKS_34 = "up to two blocks less or more in each chunk of 3-4-6-3: not stated"
FULL_SIZE = (GRID, EPOCHS, POINTS, BF16, IMAGES, HEAD, BLOCKS_18, BLOCKS_34)

CIFAR: dict[str, Any] = {
    "dataset": "cifar10",
    "target": {"train_accuracy": 0.95},
    "initialisation": "he",
    "dtype": "bfloat16",
}

PANELS: dict[str, dict[str, Any]] = {
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
            *(SIZE, OPTIMIZER, ORDER, WEIGHTS, GRID_OF_A),
            "at most 200 epochs: not stated",
            "the target checked ten times an epoch, which resolves the one to three epochs of most runs: not stated",
            "100 inputs: not stated",
            "a teacher with one hidden layer of 20 units: it is deep in the paper, its shape not stated",
            "targets divided by their standard deviation, so that the loss is relative: not stated",
            "float64, for a loss of 1e-12 is below what float32 resolves: not stated",
        ),
    },
    "b": {
        "dataset": "mnist",
        "budget": BUDGET,
        "target": {"train_accuracy": 0.96},
        "assumptions": (*COMMON, WHICH_DATA, RELU, ACCURACY, POINTS),
    },
    "c": {
        "dataset": "emnist47",
        "budget": BUDGET,
        "target": {"train_accuracy": 0.65},
        "assumptions": (*COMMON, WHICH_DATA, WIDTHS_OF_C, RELU, ACCURACY, EMNIST47),
    },
    "c-letters": {
        "dataset": "emnist_letters",
        "budget": BUDGET,
        "target": {"train_accuracy": 0.65},
        "scaled": "on EMNIST Letters, 26 classes, in place of the paper's 47",
        "assumptions": (*COMMON, WHICH_DATA, WIDTHS_OF_C, RELU, ACCURACY),
    },
    "d": {
        "dataset": "gisette",
        "budget": 262_144,
        "target": {"train_accuracy": 0.95},
        "assumptions": (SIZE_OF_D, *TRAINED, WHICH_DATA, RELU, ACCURACY),
    },
    "e": {
        "dataset": "mnist",
        "family": "lenet",
        "budget": 431_080,
        "target": {"train_accuracy": 0.98},
        "assumptions": (
            *CONV,
            "ReLU after every layer, and a hidden layer more or less in the fully-connected part: not stated",
            WEIGHTS,
            POINTS,
        ),
    },
    "f": CIFAR
    | {
        "family": "resnet18_head",
        "budget": 11_300_000,
        "assumptions": (*CONV, *RESNET, HEAD),
    },
    "g": CIFAR
    | {
        "family": "resnet18_blocks",
        "budget": 11_173_962,
        "depths": (1, 2, 3, 4),
        "assumptions": (*CONV, *RESNET, BLOCKS_18),
    },
    "h": CIFAR
    | {
        "family": "resnet34_blocks",
        "budget": 21_282_122,
        "depths": (1, 2, 3, 4, 5),
        "assumptions": (*CONV, *RESNET, BLOCKS_34),
    },
}

# What two cores finish in half an hour. The budgets are ones that whole numbers of filters come within 3 % of.
SMALL_RESNET: dict[str, Any] = {
    "num_examples": 512,
    "batch_sizes": (16, 64, 256),
    "max_epochs": 30,
    "num_seeds": 5,
    "step_sizes": StepSizes(min=0.02, max=0.32, ratio=4.0),
    "dtype": "float32",
}

SMALL: dict[str, dict[str, Any]] = {
    "e": {
        "num_examples": 3000,
        "depths": (1, 3, 10),
        "batch_sizes": (32, 128, 512),
        "max_epochs": 30,
        "num_seeds": 3,
        "step_sizes": StepSizes(min=0.02, max=0.32, ratio=2.0),
    },
    "f": SMALL_RESNET | {"depths": (1, 3, 10), "filters": 8, "budget": 190_000},
    "g": SMALL_RESNET | {"depths": (1, 2, 3), "budget": 273_500},
    "h": SMALL_RESNET | {"depths": (1, 5), "budget": 135_000},
}

# Nets and batch sizes of the small forms, on eight times the examples: all three in a night of two cores.
NIGHT = {panel: SMALL[panel] | {"num_examples": 4096, "max_epochs": 40, "num_seeds": 3} for panel in "fgh"}
FORMS = {"small": SMALL, "night": NIGHT}


def form(panel: str, scale: str) -> dict[str, Any]:
    """What changes in a panel when it is made as small as `scale` says."""
    forms = FORMS[choose("scale", scale, FORMS)]
    if panel not in forms:
        raise InputError(f"panel {panel!r} of figure 3 has no form {scale!r}: {closest(panel, forms)}")
    small = forms[panel]
    steps: StepSizes = small["step_sizes"]
    # What holds at full size only goes; what makes it small is said once.
    kept = [line for line in PANELS[panel]["assumptions"] if line not in FULL_SIZE]
    text = (
        f"{scale}: {small['num_examples']} examples, {small.get('budget', PANELS[panel]['budget'])} parameters, depths "
        f"{list(small['depths'])}, batch sizes {list(small['batch_sizes'])}, step sizes {steps.min:g} to {steps.max:g} "
        f"by factors of {steps.ratio:g}, {small['max_epochs']} epochs at most, {small['num_seeds']} seeds"
    )
    name = f"chen2018-figure3{panel}-{scale}"
    return small | {"name": name, "scaled": text, "assumptions": (*kept, "all that makes it small")}


MNIST: dict[str, Any] = {"dataset": "mnist", "budget": BUDGET, "target": {"train_accuracy": 0.96}}
