"""A meeting: a call in which parameters meet examples, from its arguments to the per-example gradients of each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from batchscope.gradients.backward.generic import generic_uses
from batchscope.gradients.rules import Rule
from batchscope.gradients.rules.lazy_gradients import Use
from batchscope.gradients.tracing.calls import (
    Function,
    Position,
    accumulation_dtype,
    changed_in_place,
    replace_at,
)
from batchscope.gradients.tracing.trace import Event


@dataclass(eq=False)
class Shared:
    """A tensor that depends on parameters only. `roots`: their names. `value`: the same numbers, without a graph; an
    nn.Parameter, by which a rule knows it among its arguments."""

    tensor: Tensor
    roots: frozenset[str]

    @cached_property
    def value(self) -> nn.Parameter:
        """The tensor as a parameter of its own, cut from the graph."""
        return nn.Parameter(self.tensor.detach(), requires_grad=False)


@dataclass(eq=False, slots=True)
class SharedCall:
    """A call as it was made, with shared tensors among its arguments: operands, by position."""

    function: Function
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    operands: dict[Position, Shared]


@dataclass(eq=False, slots=True)
class Meeting:
    """A call whose output gradient is awaited. operands: position -> what stood there (its value now does)."""

    function: Function
    args: list[Any]
    kwargs: dict[str, Any]
    event: Event
    operands: dict[Position, Shared]
    rule: Rule | None
    versions: list[tuple[Tensor, int]]

    def uses(self, grad: Tensor, num_examples: int) -> Iterable[tuple[Shared, Use, str]]:
        """Split everything by examples and apply the rule, or else the generic way."""
        for tensor, version in self.versions:
            if tensor._version != version:
                raise changed_in_place(self.function, set().union(*(o.roots for o in self.operands.values())))
        assert self.event.output is not None
        examples = {
            position: layout.split(self.argument(position).detach(), num_examples)
            for position, layout in self.event.layouts.items()
        }
        if grad.dtype.itemsize < 4:
            examples = {position: _widen(tensor, grad.dtype) for position, tensor in examples.items()}
        grad = self.event.output.split(_widen(grad, grad.dtype), num_examples)
        name, pairs = self._apply(grad, examples)
        by_value = {id(operand.value): operand for operand in self.operands.values()}
        for tensor, use in pairs:
            operand = by_value.get(id(tensor))
            if operand is not None:
                yield operand, use, name

    def argument(self, position: Position) -> Tensor:
        """What stands at a position of the call."""
        if isinstance(position, int):
            return self.args[position]  # type: ignore[no-any-return]
        key, place = position if isinstance(position, tuple) else (position, None)
        value = self.kwargs[key] if isinstance(key, str) else self.args[key]
        return value if place is None else value[place]  # type: ignore[no-any-return]

    def _apply(self, grad: Tensor, examples: dict[Position, Tensor]) -> tuple[str, Iterable[Any]]:
        if self.rule is not None and not self._is_complex(grad):
            args, kwargs = replace_at(tuple(self.args), self.kwargs, examples)
            try:
                return self.rule.name, list(self.rule.function(grad, *args, **kwargs))
            except NotImplementedError:
                pass
        values = {position: operand.value for position, operand in self.operands.items()}
        return generic_uses(self.function, grad, tuple(self.args), self.kwargs, values, examples)

    def _is_complex(self, grad: Tensor) -> bool:
        """Rules are for real numbers; torch's own derivative knows which factor is conjugated."""
        return grad.is_complex() or any(operand.tensor.is_complex() for operand in self.operands.values())


def _widen(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """In float32 at least, after rounding to `dtype`: under autocast the gradient belongs to the rounded inputs."""
    if dtype.itemsize >= 4 or not tensor.is_floating_point():
        return tensor
    return tensor.to(dtype).to(accumulation_dtype(dtype))
