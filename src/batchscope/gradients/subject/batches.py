"""Batches: any iterable of (inputs, targets), and how to take some examples out of one.

Shapes: the first axis of every tensor in inputs and targets counts examples. Inputs may be a tensor, a tuple or list
(the model's positional arguments) or a dict (its keyword arguments).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from batchscope.errors import InputError

DEFAULT_BATCH_SIZE = 256  # examples per batch when `data` comes as two whole tensors; results do not depend on it


@dataclass(frozen=True)
class Batch:
    """inputs and targets of `num_examples` examples, on the model's device."""

    inputs: Any
    targets: Any
    num_examples: int

    def take(self, index: Tensor) -> Batch:
        """The examples `index` (int64, may repeat), in that order."""

        def pick(leaf: Any) -> Any:
            if isinstance(leaf, Tensor) and leaf.ndim and leaf.shape[0] == self.num_examples:
                return leaf[index.to(leaf.device)]
            return leaf

        return Batch(map_leaves(pick, self.inputs), map_leaves(pick, self.targets), len(index))

    def head(self, count: int) -> Batch:
        return self.take(torch.arange(min(count, self.num_examples)))


def map_leaves(function: Callable[[Any], Any], tree: Any) -> Any:
    """Apply `function` to every leaf of nested tuples, lists and dicts."""
    if isinstance(tree, Mapping):
        return {key: map_leaves(function, value) for key, value in tree.items()}
    if isinstance(tree, tuple | list):
        leaves = [map_leaves(function, value) for value in tree]
        return leaves if isinstance(tree, list) else tuple(leaves)
    return function(tree)


def leaves_of(tree: Any) -> Iterator[Any]:
    """Every leaf of nested tuples, lists and dicts, in order."""
    if isinstance(tree, Mapping):
        tree = list(tree.values())
    if isinstance(tree, tuple | list):
        for value in tree:
            yield from leaves_of(value)
    else:
        yield tree


def make_batch(inputs: Any, targets: Any, device: torch.device) -> Batch:
    """Move inputs and targets to `device` (numpy arrays become tensors) and count the examples."""

    def move(leaf: Any) -> Any:
        leaf = torch.as_tensor(leaf) if isinstance(leaf, np.ndarray) else leaf
        return leaf.to(device) if isinstance(leaf, Tensor) else leaf

    inputs, targets = map_leaves(move, inputs), map_leaves(move, targets)
    first = next((leaf for leaf in leaves_of(inputs) if isinstance(leaf, Tensor) and leaf.ndim), None)
    if first is None:
        raise InputError(
            f"inputs of type {type(inputs).__name__} hold no tensor with an axis of examples: "
            "expected a tensor [N, ...], a tuple of the model's arguments, or a dict of its keyword arguments"
        )
    return Batch(inputs, targets, first.shape[0])


def iterate(data: Any, device: torch.device, batch_size: int | None = None) -> Iterator[Batch]:
    """Batches of `data`: a DataLoader, any iterable of (inputs, targets), a torch Dataset, or a pair of tensors/arrays.

    batch_size: examples per batch for a pair or a Dataset (default 256); an iterable of batches keeps its own.
    """
    for item in _as_iterable(data, batch_size or DEFAULT_BATCH_SIZE):
        if not isinstance(item, tuple | list) or len(item) != 2:
            size = f" of {len(item)}" if isinstance(item, tuple | list) else ""
            raise InputError(f"a batch came as {type(item).__name__}{size}: expected a pair (inputs, targets)")
        yield make_batch(item[0], item[1], device)


def is_changing(data: Any) -> bool:
    """Whether reading the first example of a Dataset (or a DataLoader's) twice gives two things."""
    dataset = data.dataset if isinstance(data, DataLoader) else data
    if not isinstance(dataset, Dataset) or not hasattr(dataset, "__len__") or len(dataset) == 0:
        return False
    first, second = leaves_of(dataset[0]), leaves_of(dataset[0])
    pairs = [pair for pair in zip(first, second, strict=True) if isinstance(pair[0], Tensor | np.ndarray)]
    return not all(torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in pairs)


def is_pair_of_arrays(data: Any) -> bool:
    return (
        isinstance(data, tuple | list)
        and len(data) == 2
        and all(isinstance(part, Tensor | np.ndarray) for part in data)
    )


def _as_iterable(data: Any, batch_size: int) -> Iterable[Any]:
    if is_pair_of_arrays(data):
        inputs, targets = (torch.as_tensor(part) for part in data)
        if len(inputs) != len(targets):
            raise InputError(f"{len(inputs)} inputs but {len(targets)} targets: expected one target per example")
        return zip(torch.split(inputs, batch_size), torch.split(targets, batch_size), strict=True)
    if isinstance(data, Dataset) and hasattr(data, "__len__"):
        return DataLoader(data, batch_size)
    if not isinstance(data, Iterable):
        raise InputError(
            f"data is a {type(data).__name__}: expected an iterable of (inputs, targets) or a pair of tensors"
        )
    return data


def call(model: nn.Module, inputs: Any) -> Any:
    """model(inputs), unpacking a tuple or list into positional and a dict into keyword arguments."""
    if isinstance(inputs, Mapping):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, tuple | list) else model(inputs)
