"""How the inputs of a model are taken: which of them hold examples and in which axis, and in which dtype they are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from batchscope.gradients.subject.batches import Batch
from batchscope.gradients.subject.leaves import leaves_of
from batchscope.gradients.subject.subject import Subject
from batchscope.gradients.tracing.probe import readable


class InputReader:
    """Takes the inputs of all batches of a measurement in one way, and finds another where the first does not run.

    What is done to them is said in the subject's notes.
    """

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._is_widened = False  # whether floating-point inputs are given the parameters' dtype
        self._second = False  # whether inputs hold examples in their second axis
        self._shared: frozenset[int] = frozenset()  # places of inputs that all examples share

    def read(self, batch: Batch, given: Any, is_counted: bool) -> Batch:
        """The batch, its inputs taken as in the batches before it. given: the inputs as the user gave them; arrays of
        floating-point numbers get the parameters' dtype. is_counted: whether an axis counts examples."""
        if is_counted:
            batch = self._by_axes(batch)
        arrays = any(isinstance(leaf, np.ndarray) for leaf in leaves_of(given))
        return self._widened(batch) if arrays or self._is_widened else batch

    def converted(self, batch: Batch) -> Batch:
        """A batch that does not run, in another way: its inputs by other axes, or of another dtype; the same batch
        where there is none."""
        other = readable(self._subject, batch)
        if other is None:
            widened = self._widened(batch)
            self._is_widened |= widened is not batch
            return widened
        self._second, self._shared = other.second, other.shared
        which = "the second axis of states" if other.second else "the first axis of the first input alone"
        self._subject.say(f"{which} was taken for the examples: the model does not run on some of them otherwise")
        return other

    def _by_axes(self, batch: Batch) -> Batch:
        """What all examples share may have N entries in one batch: what it was in others counts."""
        if batch.second and not self._second:
            self._subject.say("the second axis of the inputs was taken for the examples, as many as there are targets")
        self._second |= batch.second
        batch = replace(batch, second=self._second, shared=self._shared)
        if batch.ragged is None:
            tensors = enumerate(leaves_of(batch.inputs))
            self._shared |= {i for i, x in tensors if isinstance(x, Tensor) and batch.axis_of(x) is None}
        return batch

    def _widened(self, batch: Batch) -> Batch:
        """Floating-point inputs in the parameters' dtype, when they have one in common; the same batch otherwise."""
        dtypes = {p.dtype for p in self._subject.model.parameters() if p.is_floating_point()}
        leaves = [x for x in leaves_of(batch.inputs) if isinstance(x, Tensor) and x.is_floating_point()]
        if len(dtypes) != 1 or all(leaf.dtype in dtypes for leaf in leaves):
            return batch
        (dtype,) = dtypes
        self._subject.say(f"inputs of {leaves[0].dtype} were converted to the model's {dtype}")
        return batch.map_inputs(
            lambda leaf: leaf.to(dtype) if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf
        )
