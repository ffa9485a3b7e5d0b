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
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from batchscope.gradients.tracing.calls import Function, Interceptor, Position, name_of, tensors_in, tensors_out
from batchscope.gradients.tracing.example_axis import FIRST_AXIS, MIXED, Layout, Mixed, find_layout


class UntraceableError(Exception):
    """The model does what a trace cannot follow; the words say what."""


# Calls that form gradients while the model runs: the backward pass would then reach the same calls more than once.
DERIVATIVES = {torch.autograd.grad, torch.autograd.backward, Tensor.backward}


def refuse_derivatives(function: Function) -> None:
    """UntraceableError for a call by which the model or the loss differentiates or transforms itself."""
    if function in DERIVATIVES:
        raise UntraceableError("the model or the loss takes derivatives itself")
    if torch._C._functorch.peek_interpreter_stack() is not None:
        raise UntraceableError("the model or the loss uses transformations of torch.func")


Sizes = tuple[tuple[int, ...] | None, ...]


@dataclass(frozen=True)
class Event:
    """A call with at least one shared operand that needs a gradient.

    layouts: position of an operand -> where its examples are, for those that depend on examples.
    output: layout of the result; None: the result is shared too, or of a form that cannot be measured (`measurable`).
    depends: whether anything in the call depends on the examples. is_sole: whether no other event takes any of its
    shared operands.
    """

    function: Function
    shared: tuple[Position, ...]
    layouts: Mapping[Position, Layout]
    output: Layout | None
    measurable: bool
    depends: bool
    is_sole: bool = False

    @property
    def is_meeting(self) -> bool:
        """Whether parameters meet examples in the call."""
        return self.depends

    @cached_property
    def is_rowwise(self) -> bool:
        """Whether the first argument holds examples in axis 0, and all others are parameters used only here."""
        is_first = self.layouts == {0: FIRST_AXIS} and self.output == FIRST_AXIS
        return is_first and self.measurable and self.is_sole and self.shared in ((1,), (1, 2))

    def sizes(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], num_examples: int) -> Sizes:
        """The shapes of one example in the operands that are not parameters; None where examples do not fit in."""
        layouts, shared = self.layouts, self.shared
        return tuple(
            layouts[position].shape_of_one(tensor.shape, num_examples) if position in layouts else tuple(tensor.shape)
            for position, tensor in tensors_in(args, kwargs)
            if position not in shared
        )


@dataclass(eq=False)
class Trace:
    """The events of one forward pass, in order.

    sizes: signature of a batch -> the sizes of each event in it, once seen and found right by an audit.
    """

    events: tuple[Event, ...]
    sizes: dict[object, list[Sizes]] = field(default_factory=dict)


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
        """Run a call; where it can pass gradients on, keep what went in and came out."""
        refuse_derivatives(func)
        output = func(*args, **kwargs)
        operands, outputs = list(tensors_in(args, kwargs)), tensors_out(output)
        if outputs and operands:
            differentiable = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in outputs)
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
) -> Trace:
    """Trace from three recorded runs; UntraceableError when they do not make the same calls.

    run_*: run model and loss under the given mode on `num_large` examples, on the first `num_small` of them, and on
    `num_large` with example 1 replaced.
    """
    runs = []
    for run, keep_values in ((run_large, True), (run_small, False), (run_changed, True)):
        recorder = Recorder(rewrites, keep_values)
        run(recorder)
        runs.append(recorder.records)
    large, small, changed = runs
    functions = [record.function for record in large]
    if functions != [record.function for record in small] or functions != [record.function for record in changed]:
        raise UntraceableError("the calls depend on the number or the values of examples")
    return _classify(parameters, list(zip(large, small, changed, strict=True)), num_large, num_small)


def _classify(
    parameters: Mapping[str, Tensor], records: list[tuple[_Record, _Record, _Record]], num_large: int, num_small: int
) -> Trace:
    shared = {id(parameter) for parameter in parameters.values()}
    events: list[tuple[Event, list[int]]] = []
    for large, small, changed in records:
        positions = tuple(position for position, tensor in large.operands if id(tensor) in shared)
        if not positions or not large.is_differentiable:
            continue
        if not len(large.tensors) == len(small.tensors) == len(changed.tensors):
            raise UntraceableError(f"{name_of(large.function)} returns another number of tensors for other examples")
        found = [
            find_layout(tensor.detach(), other, after.detach(), num_large, num_small)
            for tensor, other, after in zip(large.tensors, small.tensors, changed.tensors, strict=True)
        ]
        event = _event(large, positions, found)
        events.append((event, [id(tensor) for position, tensor in large.operands if position in positions]))
        if not event.is_meeting:
            shared.update(id(output) for output in large.outputs if output.requires_grad)
    count = Counter(operand for _, operands in events for operand in operands)
    return Trace(tuple(replace(event, is_sole=all(count[o] == 1 for o in operands)) for event, operands in events))


def _event(large: _Record, shared: tuple[Position, ...], found: list[Layout | Mixed | None]) -> Event:
    operands = [
        (position, layout)
        for (position, _), layout in zip(large.operands, found, strict=False)
        if layout is not None and position not in shared
    ]
    results = found[len(large.operands) :]
    output = results[0] if large.is_single and isinstance(results[0], Layout) else None
    measurable = output is not None and MIXED not in (layout for _, layout in operands)
    depends = bool(operands) or any(layout is not None for layout in results)
    layouts = {position: layout for position, layout in operands if isinstance(layout, Layout)}
    return Event(large.function, shared, layouts, output, measurable, depends)
