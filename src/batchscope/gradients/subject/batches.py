"""Batches: any iterable of (inputs, targets), and how to take some examples out of one.

Shapes: the first axis of every tensor in inputs and targets counts examples. Inputs may be a tensor, a tuple or list
(the model's positional arguments) or a dict (its keyword arguments). A dict as the whole batch holds the targets too.
Entries of several lengths with a tensor of offsets (`EmbeddingBag`) are cut at the offsets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

from batchscope.errors import InputError
from batchscope.gradients.subject.leaves import leaves_of, map_leaves

DEFAULT_BATCH_SIZE = 256  # examples per batch when `data` comes as two whole tensors; results do not depend on it
TARGET_KEYS = ("labels", "label", "targets", "target", "y")  # of a batch that is a dict, as collators name them


@dataclass(frozen=True)
class Batch:
    """inputs and targets of `num_examples` examples, on the model's device.

    ragged: places, among the leaves of the inputs, of (entries of all examples one after another, their offsets).
    second: whether inputs [a, N, ...] hold examples in the second axis (states of recurrent networks, time first).
    shared: places of inputs that all examples share, though their first axis happens to have N entries.
    """

    inputs: Any
    targets: Any
    num_examples: int
    ragged: tuple[int, int] | None = None
    second: bool = False
    shared: frozenset[int] = frozenset()

    def take(self, index: Tensor) -> Batch:
        """The examples `index` (int64, may repeat), in that order."""

        def pick(leaf: Any) -> Any:
            axis = self.axis_of(leaf)
            if axis is None:
                return leaf
            rows = index.to(leaf.device)
            return leaf.index_select(axis, rows) if axis or leaf.is_sparse else leaf[rows]

        inputs = self._cut(index, pick) if self.ragged else self._picked(pick)
        return replace(self, inputs=inputs, targets=map_leaves(pick, self.targets), num_examples=len(index))

    def axis_of(self, leaf: Any) -> int | None:
        """The axis of examples, None for what has none."""
        if not isinstance(leaf, Tensor) or not leaf.ndim:
            return None
        if leaf.shape[0] == self.num_examples:
            return 0
        return 1 if self.second and _has_second(leaf, self.num_examples) else None

    def readings(self) -> Iterator[Batch]:
        """Other ways to take the inputs, where this one does not run: by the second axis; all but the first shared."""
        tensors = [(i, x) for i, x in enumerate(leaves_of(self.inputs)) if isinstance(x, Tensor) and x.ndim]
        n = self.num_examples
        if not self.second and any(x.shape[0] != n and _has_second(x, n) for _, x in tensors):
            yield replace(self, second=True)
        others = [i for i, x in tensors if x.shape[0] == n][1:]
        if others and not self.shared:
            yield replace(self, shared=frozenset(others))

    def _picked(self, pick: Callable[[Any], Any]) -> Any:
        if not self.shared:
            return map_leaves(pick, self.inputs)
        places = count()
        return map_leaves(lambda leaf: leaf if next(places) in self.shared else pick(leaf), self.inputs)

    def head(self, size: int) -> Batch:
        """The first `size` examples, or all."""
        return self.take(torch.arange(min(size, self.num_examples)))

    @property
    def signature(self) -> tuple[object, ...]:
        """The shapes of one example: batches of equal signature differ in number and values of examples only."""
        leaves = [leaf for leaf in leaves_of((self.inputs, self.targets)) if isinstance(leaf, Tensor)]
        n = self.num_examples
        return tuple((x.dtype, x.shape[1:] if x.ndim and x.shape[0] == n else (None, *x.shape)) for x in leaves)

    def map_inputs(self, function: Callable[[Any], Any]) -> Batch:
        """The batch with `function` applied to every leaf of the inputs."""
        return replace(self, inputs=map_leaves(function, self.inputs))

    def _cut(self, index: Tensor, pick: Callable[[Any], Any]) -> Any:
        assert self.ragged is not None
        leaves, (entries_at, offsets_at) = list(leaves_of(self.inputs)), self.ragged
        entries, offsets = leaves[entries_at], leaves[offsets_at]
        ends = [*offsets.tolist()[: self.num_examples], len(entries)][1:]
        pieces = [entries[int(offsets[i]) : ends[i]] for i in index.tolist()]
        lengths = torch.tensor([0, *map(len, pieces)], device=offsets.device, dtype=offsets.dtype)
        new = {
            entries_at: torch.cat(pieces) if pieces else entries[:0],
            offsets_at: lengths.cumsum(0)[: len(offsets) - self.num_examples + len(pieces)].to(offsets.dtype),
        }
        places = count()
        return map_leaves(lambda leaf: new[place] if (place := next(places)) in new else pick(leaf), self.inputs)


def _has_second(x: Tensor, num_examples: int) -> bool:
    return x.ndim > 1 and x.shape[1] == num_examples


def make_batch(inputs: Any, targets: Any, device: torch.device, counted: bool = True) -> Batch:
    """Move inputs and targets to `device` (numpy arrays become tensors) and count the examples.

    counted: False for a batch whose examples no axis counts; it has one, then.
    """

    def move(leaf: Any) -> Any:
        leaf = from_numpy(leaf) if isinstance(leaf, np.ndarray) else leaf
        if not isinstance(leaf, Tensor):
            return leaf
        return leaf.to(device).clone() if leaf.is_inference() else leaf.to(device)

    inputs, targets = map_leaves(move, inputs), map_leaves(move, targets)
    if not counted:
        return Batch(inputs, targets, 1)
    num_examples, second = _count(inputs, targets)
    return Batch(inputs, targets, num_examples, _ragged(list(leaves_of(inputs)), num_examples), second)


def from_numpy(array: np.ndarray[Any, Any]) -> Tensor:
    """A tensor of an array of any number type, byte order and stride. InputError for what holds no numbers."""
    if array.dtype.kind not in "biufc":
        raise InputError(f"an array of dtype {array.dtype}: expected numbers")
    if array.dtype.isnative and array.dtype.kind != "u" and all(step >= 0 for step in array.strides):
        return torch.as_tensor(array)
    wanted = {2: np.int32, 4: np.int64, 8: np.int64} if array.dtype.kind == "u" else {}
    dtype = wanted.get(array.dtype.itemsize, array.dtype.newbyteorder("="))
    return torch.from_numpy(np.ascontiguousarray(array, dtype=dtype))


def _count(inputs: Any, targets: Any) -> tuple[int, bool]:
    """N, and whether inputs hold the examples in their second axis: N is the first axis of the first input, or, where
    the first or second axis of another input agrees with the targets and that does not, of the targets."""
    tensors = [leaf for leaf in leaves_of(inputs) if isinstance(leaf, Tensor) and leaf.ndim]
    sizes = [tensor.shape[0] for tensor in tensors]
    if not sizes:
        raise InputError(
            f"inputs of type {type(inputs).__name__} hold no tensor with an axis of examples: "
            "expected a tensor [N, ...], a tuple of the model's arguments, or a dict of its keyword arguments"
        )
    wanted = next((leaf.shape[0] for leaf in leaves_of(targets) if isinstance(leaf, Tensor) and leaf.ndim), sizes[0])
    if wanted in sizes:
        return wanted, False
    return (wanted, True) if _has_second(tensors[0], wanted) else (sizes[0], False)


def _ragged(leaves: list[Any], num_examples: int) -> tuple[int, int] | None:
    """Places of entries and offsets: integers from 0 on, not falling, that end within entries of another number."""
    tensors = [(i, x) for i, x in enumerate(leaves) if isinstance(x, Tensor) and x.ndim]
    odd = [(i, x) for i, x in tensors if x.shape[0] != num_examples and x.shape[0] != num_examples + 1]
    if not num_examples or not odd:
        return None
    for place, x in tensors:
        if (
            x.ndim != 1
            or x.is_floating_point()
            or x.dtype == torch.bool
            or len(x) not in (num_examples, num_examples + 1)
        ):
            continue
        rises = int(x[0]) == 0 and bool((x.diff() >= 0).all())
        for entries_at, entries in odd:
            fits = int(x[-1]) <= len(entries) if len(x) == num_examples else int(x[-1]) == len(entries)
            if rises and fits and int(x[-1]) > 0:
                return entries_at, place
    return None


def pairs_of(data: Any, batch_size: int | None = None, whole: bool = False) -> Iterator[tuple[Any, Any]]:
    """(inputs, targets) of every batch of `data`: a DataLoader, any iterable of batches, a torch Dataset, or a pair of
    tensors or arrays.

    batch_size: examples per batch for a pair or a Dataset (default 256); an iterable of batches keeps its own.
    whole: whether a dict is the model's inputs with its targets (for a model that computes its own loss).
    """
    for item in as_iterable(data, batch_size or DEFAULT_BATCH_SIZE):
        yield as_pair(item, whole)


def num_examples_in(data: Any) -> int:
    """How many examples `data` holds, where it says so; else 0."""
    if is_pair_of_arrays(data):
        return len(data[0])
    data = data.dataset if isinstance(data, DataLoader) else data
    return len(data) if isinstance(data, Dataset) and hasattr(data, "__len__") else 0


def as_pair(item: Any, whole: bool = False) -> tuple[Any, Any]:
    """(inputs, targets) of what a data loader hands over. whole: keep a dict's targets among the inputs."""
    if isinstance(item, Mapping):
        key = next((key for key in TARGET_KEYS if key in item), None)
        if key is None and not whole:
            raise InputError(
                f"a batch came as a dict of {sorted(map(str, item))}: expected its targets under one of "
                f"{TARGET_KEYS}, or "
                "pairs (inputs, targets)"
            )
        inputs = {name: value for name, value in item.items() if whole or name != key}
        return inputs, item[key] if key is not None else None
    if whole and not (isinstance(item, tuple | list) and len(item) == 2):
        return item, None
    if not isinstance(item, tuple | list) or len(item) != 2:
        size = f" of {len(item)}" if isinstance(item, tuple | list) else ""
        raise InputError(
            f"a batch came as {type(item).__name__}{size}: expected a pair (inputs, targets), the inputs a tensor, "
            "a tuple "
            "of the model's arguments or a dict of its keyword arguments; lists of numbers must be made tensors first"
        )
    return item[0], item[1]


def is_changing(data: Any) -> bool:
    """Whether reading the first example of a Dataset (or a DataLoader's) twice gives two things."""
    dataset = data.dataset if isinstance(data, DataLoader) else data
    if not isinstance(dataset, Dataset) or not hasattr(dataset, "__len__") or len(dataset) == 0:
        return False
    first, second = leaves_of(dataset[0]), leaves_of(dataset[0])
    pairs = [pair for pair in zip(first, second, strict=True) if isinstance(pair[0], Tensor | np.ndarray)]
    return not all(torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in pairs)


def is_pair_of_arrays(data: Any) -> bool:
    """Whether `data` is a pair (inputs, targets) of tensors or arrays."""
    return (
        isinstance(data, tuple | list)
        and len(data) == 2
        and all(isinstance(part, Tensor | np.ndarray) for part in data)
    )


def as_iterable(data: Any, batch_size: int) -> Iterable[Any]:
    """`data` as an iterable of batches."""
    if is_pair_of_arrays(data):
        inputs, targets = data
        if len(inputs) != len(targets):
            raise InputError(f"{len(inputs)} inputs but {len(targets)} targets: expected one target per example")
        starts = range(0, max(len(inputs), 1), batch_size)
        return ((inputs[i : i + batch_size], targets[i : i + batch_size]) for i in starts)
    if isinstance(data, IterableDataset) or (isinstance(data, Dataset) and hasattr(data, "__len__")):
        return DataLoader(data, batch_size)  # its items are examples
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
