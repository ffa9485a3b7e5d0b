"""What the tests of data parallelism train, on one process and under torchrun alike."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from batchscope.architectures import Architecture
from batchscope.data import Dataset
from batchscope.data.dataset import Standardisation
from batchscope.records.row import Target
from batchscope.training import Member, Settings

SETTINGS = Settings(batch_size=12, target=Target("train_loss", -1.0), max_epochs=2, dtype="float64")


@dataclass(frozen=True)
class Case:
    """own_statistics: BatchNorm over each rank's part. last_batch: examples beyond whole batches."""

    net: Architecture
    changes: tuple[tuple[str, object], ...] = ()
    own_statistics: bool = False

    @property
    def members(self) -> list[Member]:
        return [Member(0.05, 3), Member(0.02, 4)]

    def settings(self, num_ranks: int) -> Settings:
        shares = num_ranks if self.own_statistics else 1
        return dataclasses.replace(SETTINGS, batchnorm_shares=shares, **dict(self.changes))  # type: ignore[arg-type]


RESNET = Architecture("resnet18_blocks", (3, 16, 17), 5, 1, 2)
CASES = {
    "fully_connected": Case(Architecture("fully_connected", (2, 17, 17), 5, 2, 7)),
    "lenet_adam": Case(Architecture("lenet", (2, 17, 17), 5, 1, 7), (("optimizer", "adam"),)),
    "augmented": Case(Architecture("lenet", (2, 17, 17), 5, 1, 7), (("augmentation", "pad_crop_flip"),)),
    "global_statistics": Case(RESNET),
    "own_statistics": Case(RESNET, own_statistics=True),
}


def dataset(net: Architecture, n: int = 41) -> Dataset:
    """41 examples in batches of 12: the last batch has 5, which do not split evenly."""
    draw = np.random.default_rng(11)
    inputs = draw.normal(size=(n, *net.input_shape)).astype(np.float32)
    labels = draw.integers(0, net.d_out, n)
    return Dataset("noise", inputs, labels, None, None, net.d_out, "0" * 16, Standardisation("none"), "random numbers")
