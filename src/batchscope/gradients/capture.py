"""Capture: run the model once, forward and backward, and receive every parameter's per-example gradients as Uses.

At each meeting of the trace the shared operands are cut off from the graph, so autograd computes the gradients of the
activations only, and a hook on the call's output receives the output gradient, from which the rule makes its Uses.
The ordinary weight gradient is thus *replaced*, not repeated: so measuring costs about as much as a plain pass.

Whatever reaches a parameter by another way (a scripted module, a custom autograd function) is seen too: the backward
pass then returns an ordinary gradient for that parameter, and its name is reported as escaped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from batchscope.errors import MeasurementError
from batchscope.gradients.calls import (
    Function,
    Interceptor,
    Position,
    accumulation_dtype,
    is_in_place,
    name_of,
    substitute,
    tensors_in,
    tensors_out,
)
from batchscope.gradients.generic import generic_uses
from batchscope.gradients.rules import Rule, load
from batchscope.gradients.trace import Event, Trace
from batchscope.gradients.uses import Use


class TraceMismatchError(Exception):
    """The model did not make the calls that were traced (its shapes or its control flow changed): trace again."""


@dataclass(eq=False)
class Shared:
    """A tensor that depends on parameters only. `roots`: their names. `value`: the same numbers, without a graph; an
    nn.Parameter, by which a rule knows it among its arguments."""

    tensor: Tensor
    roots: frozenset[str]
    value: nn.Parameter = field(init=False)

    def __post_init__(self) -> None:
        self.value = nn.Parameter(self.tensor.detach(), requires_grad=False)


Receiver = Callable[[Shared, Use, str], None]  # the operand, its per-example gradients, the rule's name


@dataclass(eq=False)
class _Meeting:
    function: Function
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    event: Event
    operands: dict[int, Shared]  # id of the value that stands in the call -> the operand
    rule: Rule | None
    versions: list[tuple[Tensor, int]]

    def uses(self, grad: Tensor, num_examples: int) -> Iterable[tuple[Shared, Use, str]]:
        """Split everything by examples and apply the rule, or else the generic way."""
        self._check_versions()
        dtype = accumulation_dtype(grad.dtype)

        def split(position: Position, tensor: Tensor) -> Tensor:
            layout = self.event.layouts.get(position)
            if layout is None:
                return tensor
            tensor = layout.split(tensor.detach(), num_examples)
            # autocast ran the call on `grad.dtype`: the gradient belongs to the rounded input.
            return tensor.to(grad.dtype).to(dtype) if tensor.is_floating_point() else tensor

        assert self.event.output is not None
        args, kwargs = substitute(self.args, self.kwargs, split)
        grad = self.event.output.split(grad, num_examples).to(dtype)
        name, pairs = self._apply(grad, args, kwargs)
        for tensor, use in pairs:
            if id(tensor) in self.operands:
                yield self.operands[id(tensor)], use, name

    def _apply(self, grad: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, list[Any]]:
        if self.rule is not None:
            try:
                return self.rule.name, list(self.rule.function(grad, *args, **kwargs))
            except NotImplementedError:
                pass
        values = {key: operand.value for key, operand in self.operands.items()}
        return generic_uses(self.function, grad, args, kwargs, values, frozenset(self.event.layouts))

    def _check_versions(self) -> None:
        for tensor, version in self.versions:
            if tensor._version != version:
                raise MeasurementError(
                    f"an input of {name_of(self.function)} was changed in place after it was used, so the gradient of "
                    f"{sorted(set().union(*(s.roots for s in self.operands.values())))} cannot be formed: "
                    "use the out-of-place form of the operation that follows it"
                )


class _Tap(torch.autograd.Function):
    """Makes a tensor without graph (a layer on raw inputs) part of one, so that its gradient is computed."""

    @staticmethod
    def forward(ctx: Any, anchor: Tensor, box: list[Tensor]) -> Tensor:
        return box[0]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, None]:
        return None, None


class Capture(Interceptor):
    """The mode of the measuring pass: follows a trace, hands each Use to `receive` during the backward pass."""

    def __init__(
        self,
        parameters: Mapping[str, Tensor],
        trace: Trace,
        rewrites: Mapping[Function, Function],
        num_examples: int,
        receive: Receiver,
    ) -> None:
        super().__init__(rewrites)
        self._rules = load()
        self._events = iter(trace.events)
        self._expected = next(self._events, None)
        self._num_examples = num_examples
        self._receive = receive
        self._shared = {id(p): Shared(p, frozenset([name])) for name, p in parameters.items()}
        self.anchor = torch.zeros((), requires_grad=True)
        self.meetings_of: dict[str, int] = dict.fromkeys(parameters, 0)

    def see(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        shared = self._shared
        operands = [(position, shared[id(t)]) for position, t in tensors_in(args, kwargs) if id(t) in shared]
        if not operands or not torch.is_grad_enabled():
            return func(*args, **kwargs)
        event = self._expected
        if event is None or event.function != name_of(func) or event.shared != tuple(p for p, _ in operands):
            return self._run_unexpected(func, args, kwargs)
        if not event.is_meeting or not event.measurable or (is_in_place(func) and event.shared == (0,)):
            return self._run_shared(event, operands, func, args, kwargs)
        self._advance()
        return self._meet(event, operands, func, args, kwargs)

    def _advance(self) -> None:
        self._expected = next(self._events, None)

    def _run_unexpected(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A call outside the trace is harmless when no gradient flows through it (a shape, a comparison)."""
        output = func(*args, **kwargs)
        if any(tensor.requires_grad for tensor in tensors_out(output)):
            raise TraceMismatchError(name_of(func))
        return output

    def _run_shared(
        self,
        event: Event,
        operands: list[tuple[Position, Shared]],
        func: Function,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Parameters in, parameters out: keep the graph. Also a call that cannot be measured: its parameters escape."""
        output = func(*args, **kwargs)
        tensors = [tensor for tensor in tensors_out(output) if tensor.requires_grad]
        if tensors:
            self._advance()
        if not event.is_meeting:
            roots = frozenset().union(*(operand.roots for _, operand in operands))
            self._shared.update((id(tensor), Shared(tensor, roots)) for tensor in tensors)
        return output

    def _meet(
        self,
        event: Event,
        operands: list[tuple[Position, Shared]],
        func: Function,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        cut = {position: operand.value for position, operand in operands}
        args, kwargs = substitute(args, kwargs, lambda position, tensor: cut.get(position, tensor))
        rule = self._rules.get(func)
        rule = rule if rule is not None and rule.accepts(event.layouts) else None
        reads = rule is None or rule.reads_inputs
        inputs = [t for p, t in tensors_in(args, kwargs) if p in event.layouts] if reads else []
        by_value = {id(operand.value): operand for _, operand in operands}
        meeting = _Meeting(func, args, kwargs, event, by_value, rule, [(t, t._version) for t in inputs])
        output = func(*args, **kwargs)
        if not output.requires_grad:
            output = _Tap.apply(self.anchor, [output])  # type: ignore[no-untyped-call]
        for operand in by_value.values():
            for root in operand.roots:
                self.meetings_of[root] += 1
        output.register_hook(self._hook(meeting))
        return output

    def _hook(self, meeting: _Meeting) -> Callable[[Tensor], None]:
        def on_gradient(grad: Tensor) -> None:
            with torch.no_grad(), torch.autocast(grad.device.type, enabled=False):
                for operand, use, rule in meeting.uses(grad, self._num_examples):
                    self._receive(operand, use, rule)

        return on_gradient


def escaped(losses: Tensor, capture: Capture, parameters: Mapping[str, Tensor]) -> set[str]:
    """Run the backward pass (hooks fire); return the names of parameters that autograd reached past the hooks."""
    leaves = [capture.anchor, *parameters.values()]
    with torch.autocast(losses.device.type, enabled=False):
        _, *grads = torch.autograd.grad(losses.sum(), leaves, allow_unused=True)
    return {name for name, grad in zip(parameters, grads, strict=True) if grad is not None}
