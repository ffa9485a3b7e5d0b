"""The trace: where a model uses its parameters, and where in each tensor the examples are.

The model runs on a few examples of the first batch while every torch call is written down: once with m examples, once
with m - 1, once with m after example 1 was replaced. The axis whose size follows the number of examples holds them; the
entries that changed tell how they are interleaved; and tensors whose shape does not depend on the number of examples
are *shared*: parameters and what is computed from parameters alone (a transposed, tied or normalised weight, a table of
positions). A call in which something shared meets the examples, or is copied for each of them, is a *meeting*: there
the gradient splits into per-example gradients, and there the measurement takes place.

Nothing is assumed about the kind of module; what could not be traced is measured by a slower way and reported.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from batchscope.gradients.tracing.calls import Function, Interceptor, Position, tensors_in, tensors_out
from batchscope.gradients.tracing.example_axis import Layout, find_layout

_FIRST_AXIS = Layout(0)


@dataclass(frozen=True)
class Event:
    """A call with at least one shared operand that needs a gradient.

    layouts: position of an operand -> where its examples are, for those that depend on examples.
    output: layout of the result; None: the result is shared too, or of a form that cannot be measured (`measurable`).
    is_sole: whether no other event takes any of its shared operands.
    """

    function: Function
    shared: tuple[Position, ...]
    layouts: Mapping[Position, Layout]
    output: Layout | None
    measurable: bool
    is_sole: bool = False

    @property
    def is_meeting(self) -> bool:
        return self.output is not None or bool(self.layouts)

    @cached_property
    def is_rowwise(self) -> bool:
        """Whether the first argument holds examples in axis 0, and all others are parameters used only here."""
        is_first = self.layouts == {0: _FIRST_AXIS} and self.output == _FIRST_AXIS
        return is_first and self.measurable and self.is_sole and self.shared in ((1,), (1, 2))


@dataclass(frozen=True)
class Trace:
    """The events of one forward pass, in order."""

    events: tuple[Event, ...]


@dataclass(eq=False)
class _Record:
    function: Function
    operands: list[tuple[Position, Tensor]]
    outputs: list[Tensor]
    is_single: bool  # whether the call returned one tensor and nothing else
    is_differentiable: bool  # whether its result required a gradient (then: inside a custom function it does not yet)

    @property
    def tensors(self) -> list[Tensor]:
        return [*(tensor for _, tensor in self.operands), *self.outputs]


class Recorder(Interceptor):
    """Writes down every call that returns a tensor; only its shapes, unless `keep_values`."""

    def __init__(self, rewrites: Mapping[Function, Function], keep_values: bool) -> None:
        super().__init__(rewrites)
        self.records: list[_Record] = []
        self._keep_values = keep_values

    def see(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        output = func(*args, **kwargs)
        operands, outputs = list(tensors_in(args, kwargs)), tensors_out(output)
        if outputs and operands:
            differentiable = any(tensor.requires_grad for tensor in outputs)
            if not self._keep_values:
                operands = [(position, _shape_of(tensor)) for position, tensor in operands]
                outputs = [_shape_of(tensor) for tensor in outputs]
            self.records.append(_Record(func, operands, outputs, isinstance(output, Tensor), differentiable))
        return output


def _shape_of(tensor: Tensor) -> Tensor:
    return torch.empty(tensor.shape, device="meta")


Forward = Callable[[Interceptor], object]


def build_trace(
    parameters: Mapping[str, Tensor],
    rewrites: Mapping[Function, Function],
    run_large: Forward,
    run_small: Forward,
    run_changed: Forward,
    num_large: int,
    num_small: int,
) -> Trace | None:
    """Trace from three recorded runs; None when they do not make the same calls (the model looks at the batch size).

    run_*: run model and loss under the given mode on `num_large` examples, on the first `num_small` of them, and on
    `num_large` with example 1 replaced.
    """
    runs = []
    for run, keep_values in ((run_large, True), (run_small, False), (run_changed, True)):
        recorder = Recorder(rewrites, keep_values)
        run(recorder)
        runs.append(recorder.records)
    large, small, changed = runs
    if [r.function for r in large] != [r.function for r in small] or len(large) != len(changed):
        return None
    return _classify(parameters, list(zip(large, small, changed, strict=True)), num_large, num_small)


def _classify(
    parameters: Mapping[str, Tensor], records: list[tuple[_Record, _Record, _Record]], num_large: int, num_small: int
) -> Trace | None:
    shared = {id(parameter) for parameter in parameters.values()}
    events: list[tuple[Event, list[int]]] = []
    for large, small, changed in records:
        positions = tuple(position for position, tensor in large.operands if id(tensor) in shared)
        if not positions or not large.is_differentiable:
            continue
        if not len(large.tensors) == len(small.tensors) == len(changed.tensors):
            return None
        found = [
            find_layout(tensor, other, num_large, num_small, _changes(tensor, after))
            for tensor, other, after in zip(large.tensors, small.tensors, changed.tensors, strict=True)
        ]
        event = _event(large, positions, found, small)
        events.append((event, [id(tensor) for position, tensor in large.operands if position in positions]))
        if not event.is_meeting:
            shared.update(id(output) for output in large.outputs if output.requires_grad)
    count = Counter(operand for _, operands in events for operand in operands)
    return Trace(tuple(replace(event, is_sole=all(count[o] == 1 for o in operands)) for event, operands in events))


def _changes(before: Tensor, after: Tensor) -> Tensor | None:
    """By how much each entry changed; None for other shapes. Values after the whole run: what changed them in place
    meanwhile kept examples apart, or was not measurable."""
    if before.shape != after.shape:
        return None
    before, after = before.detach(), after.detach()
    return (before - after).abs().nan_to_num() if before.is_floating_point() else (before != after).float()


def _event(large: _Record, shared: tuple[Position, ...], found: list[Layout | None], small: _Record) -> Event:
    layouts = {
        position: layout
        for (position, _), layout in zip(large.operands, found, strict=False)
        if layout is not None and position not in shared
    }
    output = found[len(large.operands)] if large.is_single else None
    scales = [a.shape != b.shape for (_, a), (_, b) in zip(large.operands, small.operands, strict=True)]
    understood = sum(scales) == len(layouts) and output is not None
    return Event(large.function, shared, layouts, output, understood)
