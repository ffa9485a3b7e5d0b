"""Small stacked cohorts and the data they train on."""

from batchscope.architectures import Architecture
from batchscope.data import Dataset, load
from batchscope.training import Member

GRID = [Member(step_size, 3) for step_size in (0.01, 0.05, 0.2)]


def classes() -> Dataset:
    return load("digits", num_examples=97)


def regression() -> Dataset:
    return load("synthetic", num_examples=97, d_in=7, d_out=3, seed=5)


def architecture(dataset: Dataset, depth: int = 3, activation: str = "relu", bias: bool = True) -> Architecture:
    return Architecture(
        "fully_connected", dataset.inputs.shape[1:], dataset.d_out, depth, 5, activation=activation, bias=bias
    )
