"""What goes into a forward pass and what comes out of it, as flat lists of tensors."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor
from torch.autograd.graph import Node
from torch.nn.utils.rnn import PackedSequence

from batchscope.errors import MeasurementError
from batchscope.gradients.subject.batches import Batch
from batchscope.gradients.subject.leaves import leaves_of
from batchscope.gradients.subject.subject import Subject


def tensors_of(outputs: Any) -> Iterator[Tensor]:
    """Every floating or complex tensor of a model's outputs that carries a graph, in order: of nested tuples, lists,
    mappings (Hugging Face) and dataclasses."""
    if isinstance(outputs, Tensor):
        if outputs.requires_grad:
            yield outputs
    elif isinstance(outputs, PackedSequence):
        yield from tensors_of(outputs.data)
    elif isinstance(outputs, Mapping):
        for value in outputs.values():
            yield from tensors_of(value)
    elif isinstance(outputs, tuple | list):
        for value in outputs:
            yield from tensors_of(value)
    elif dataclasses.is_dataclass(outputs) and not isinstance(outputs, type):
        for field in dataclasses.fields(outputs):
            yield from tensors_of(getattr(outputs, field.name))


def before_cast(output: Tensor) -> tuple[Node, int] | None:
    """(node, which of its outputs) that an output is a cast of, None where it is none.

    Half-precision wrappers (accelerate's) hand out float32 copies of outputs, beside a loss that was computed from the
    originals: no gradient ever arrives at the copies, and the derivative of the cast is one.
    """
    node = output.grad_fn
    if node is None or node.name() != "ToCopyBackward0":
        return None
    source, index = node.next_functions[0]
    return None if source is None else (source, index)


def batch_of(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Batch:
    """The arguments of a call as a Batch with the inputs (args, kwargs), cut from the graph behind them; the first axis
    of the first tensor counts."""
    tensors = [leaf for leaf in leaves_of((args, kwargs)) if isinstance(leaf, Tensor)]
    first = next((tensor for tensor in tensors if tensor.ndim), None)
    if first is None:
        raise MeasurementError("the model was called without a tensor that has an axis of examples")
    batch = Batch((args, dict(kwargs)), None, first.shape[0])
    return batch.map_inputs(_cut) if any(tensor.grad_fn is not None for tensor in tensors) else batch


def _cut(leaf: Any) -> Any:
    """A tensor with a graph as a leaf of the same memory; anything else as it is."""
    return leaf.detach().requires_grad_() if isinstance(leaf, Tensor) and leaf.grad_fn is not None else leaf


class Call(Subject):
    """A model that is called as the loop calls it; the inputs of its batches are (args, kwargs)."""

    def outputs(self, batch: Batch) -> Any:
        """The model's outputs for a batch whose inputs are (arguments, keyword arguments)."""
        return self.call(batch)

    def invoke(self, inputs: Any) -> Any:
        """The model called with (arguments, keyword arguments)."""
        args, kwargs = inputs
        return self.model(*args, **kwargs)


def frontier(outputs: list[Tensor]) -> list[int]:
    """Positions of the outputs that no other output is computed from.

    The gradient that arrives at logits already holds what a loss computed from them sent back: of an output and what is
    computed from it, only the latter's gradient may count.
    """
    if len(outputs) < 2:
        return list(range(len(outputs)))
    nodes = [output.grad_fn for output in outputs]
    inner: set[int] = set()
    for position, node in enumerate(nodes):
        others = {id(other): k for k, other in enumerate(nodes) if other is not None and other is not node}
        if node is not None and position not in inner:
            inner |= _reached(node, others)
    return [position for position in range(len(outputs)) if position not in inner]


def _reached(node: Node, wanted: Mapping[int, int]) -> set[int]:
    """Which of the wanted nodes lie behind `node` in the graph."""
    seen, waiting, found = {id(node)}, [node], set()
    while waiting:
        for following, _ in waiting.pop().next_functions:
            if following is None or id(following) in seen:
                continue
            seen.add(id(following))
            waiting.append(following)
            if id(following) in wanted:
                found.add(wanted[id(following)])
    return found
