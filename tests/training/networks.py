"""Small networks of every kind, and images to train them on."""

from __future__ import annotations

import functools

import numpy as np

from batchscope.architectures import Architecture
from batchscope.data import Dataset
from batchscope.data.dataset import Standardisation
from batchscope.records.row import Target
from batchscope.training import Settings

NEVER = Target("train_loss", -1.0)
SETTINGS = Settings(batch_size=13, target=NEVER, max_epochs=2, dtype="float64")

NETS = {
    "lenet": Architecture("lenet", (2, 16, 17), 5, 2, 7, activation="tanh"),
    "batch_norm": Architecture("resnet18_blocks", (3, 16, 17), 5, 1, 2),
    "group_norm": Architecture("resnet18_head", (3, 16, 16), 5, 2, 7, norm="group_norm", filters=2),
}


@functools.cache
def images(shape: tuple[int, ...], n: int = 31, num_classes: int = 5) -> Dataset:
    draw = np.random.default_rng(11)
    inputs, labels = draw.normal(size=(n, *shape)).astype(np.float32), draw.integers(0, num_classes, n)
    held = draw.normal(size=(7, *shape)).astype(np.float32), draw.integers(0, num_classes, 7)
    return Dataset("noise", inputs, labels, *held, num_classes, "0" * 16, Standardisation("none"), "random numbers")
