"""`Rule`, and the decorators that register one; what rules share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import Tensor

from batchscope.gradients.rules.lazy_gradients import Use
from batchscope.gradients.tracing.calls import Function, Position

Uses = Iterable[tuple[Tensor | None, Use]]
RuleFunction = Callable[..., Uses]


@dataclass(frozen=True)
class Rule:
    """name: of its family, for the coverage table. examples: positions that may depend on examples; None: any.
    reads_inputs: whether the rule needs the arguments as they were (so that changing them in place is an error).
    is_linear: whether the call is F.linear's, so that one row per example can do with norms of rows (rowwise.py).
    """

    name: str
    function: RuleFunction
    examples: frozenset[Position] | None
    reads_inputs: bool = True
    is_linear: bool = False

    def accepts(self, positions: Iterable[Position]) -> bool:
        """Whether the rule covers a call in which exactly the arguments at `positions` depend on examples."""
        return self.examples is None or self.examples.issuperset(positions)


RULES: dict[Function, Rule] = {}
REWRITES: dict[Function, Function] = {}
Deliver = Callable[[Uses], None]
# replacement(anchor, deliver, *args, **kwargs) -> output, or NotImplemented. `anchor` is a leaf that makes the output
# part of the graph; `deliver` is to be called with the Uses in the backward pass. Called when examples are in axis 0.
REPLACEMENTS: dict[Function, Function] = {}


def rule(
    *functions: Function,
    examples: Iterable[Position] | None = (0, "input"),
    reads_inputs: bool = True,
    is_linear: bool = False,
) -> Callable[[RuleFunction], RuleFunction]:
    """Register a rule for torch functions. `examples`: arguments that may depend on examples (default: the first)."""

    def register(function: RuleFunction) -> RuleFunction:
        allowed = None if examples is None else frozenset(examples)
        for target in functions:
            RULES[target] = Rule(function.__name__, function, allowed, reads_inputs, is_linear)
        return function

    return register


def rewrite(*functions: Function) -> Callable[[Function], Function]:
    """Register a rewrite; it may return NotImplemented to leave a call as it is."""

    def register(replacement: Function) -> Function:
        for target in functions:
            REWRITES[target] = replacement
        return replacement

    return register


def replacement(*functions: Function) -> Callable[[Function], Function]:
    """Register a replacement; see REPLACEMENTS."""

    def register(function: Function) -> Function:
        for target in functions:
            REPLACEMENTS[target] = function
        return function

    return register


def sum_positions(grad: Tensor, num_axes: int) -> Tensor:
    """Sum [N, positions..., *last num_axes] over the positions: [N, *last]."""
    if grad.ndim == num_axes + 2 and grad.shape[1] == 1:
        return grad.squeeze(1)
    last = grad.shape[grad.ndim - num_axes :]
    positions = math.prod(grad.shape[1 : grad.ndim - num_axes])
    grad = grad.reshape(grad.shape[0], positions, *last)
    return grad.squeeze(1) if positions == 1 else grad.sum(1)


def as_positions(x: Tensor) -> Tensor:
    """[N, positions..., d] -> [N, T, d]."""
    return x if x.ndim == 3 else x.reshape(x.shape[0], math.prod(x.shape[1:-1]), x.shape[-1])
