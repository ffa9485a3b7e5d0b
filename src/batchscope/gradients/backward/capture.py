"""Capture: run the model once, forward and backward, and receive every parameter's per-example gradients as Uses.

At each meeting of the trace the shared operands are cut off from the graph, so autograd computes the gradients of the
activations only, and a hook on the call's output receives the output gradient, from which the rule makes its Uses.
The ordinary weight gradient is thus *replaced*, not repeated: so measuring costs about as much as a plain pass.

Whatever reaches a parameter by another way (a scripted module, a custom autograd function) is seen too: the backward
pass then returns an ordinary gradient for that parameter, and its name is reported as escaped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from batchscope.gradients.backward.meeting import Meeting, Shared, SharedCall
from batchscope.gradients.backward.rowwise import RowwiseCall, call_rowwise, results_of
from batchscope.gradients.rules import REPLACEMENTS, RULES, Uses
from batchscope.gradients.rules.lazy_gradients import Use
from batchscope.gradients.tracing.calls import (
    Function,
    Interceptor,
    Position,
    changed_in_place,
    is_in_place,
    name_of,
    replace_at,
    tensors_in,
    tensors_out,
)
from batchscope.gradients.tracing.example_axis import FIRST_AXIS
from batchscope.gradients.tracing.trace import DERIVATIVES, Event, Sizes, Trace, refuse_derivatives

_SPECIAL = DERIVATIVES | {Tensor.requires_grad_, Tensor.requires_grad.__set__}  # type: ignore[attr-defined]


class TraceMismatchError(Exception):
    """The model did not make the calls that were traced (its shapes or its control flow changed): trace again."""


class WrongSizesError(TraceMismatchError):
    """The calls are those of the trace, with other numbers of entries per example than seen before."""


Receiver = Callable[[Shared, Use, str], None]  # the operand, its per-example gradients, the rule's name


class _Tap(torch.autograd.Function):
    """Makes a tensor without graph (a layer on raw inputs) part of one, so that its gradient is computed."""

    @staticmethod
    def forward(ctx: Any, anchor: Tensor, box: list[Tensor]) -> Tensor:
        return box[0]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, None]:
        return None, None


class Capture(Interceptor):
    """The mode of the measuring pass: follows a trace, hands each Use to `receive` during the backward pass.

    cut: whether parameters are cut off from the graph (measuring) or get their ordinary gradient too (observing).
    stand_ins: parameter name -> a leaf of the same numbers, to be used by row-wise calls and kept for the next batch.
    ends: tensors besides parameters at which the backward pass must arrive, or hooks on the way would not run: inputs
    that require a gradient.
    meetings_of: parameter name -> number of Uses to expect. rowwise: calls measured without a Use.
    has_left_trace: whether calls came that were not traced, or with other sizes; cut, that is an error at once.
    expected_sizes: of each event, as seen in a batch of the same signature (`Batch.signature`). sizes: as they are now.
    """

    def __init__(
        self,
        parameters: Mapping[str, Tensor],
        trace: Trace,
        rewrites: Mapping[Function, Function],
        num_examples: int,
        receive: Receiver,
        cut: bool = True,
        stand_ins: dict[str, Tensor] | None = None,
        expected_sizes: Sequence[Sizes] | None = None,
    ) -> None:
        super().__init__(rewrites)
        self._rules = RULES
        self._events = iter(trace.events)
        self._expected = next(self._events, None)
        self._num_examples = num_examples
        self._receive = receive
        self._cut = cut
        self._stand_ins = {} if stand_ins is None else stand_ins
        self.has_left_trace = False
        self._expected_sizes, self.sizes = expected_sizes, list[Sizes]()
        self._shared = {id(p): Shared(p, frozenset([name])) for name, p in parameters.items()}
        self._names = {id(p): name for name, p in parameters.items()}
        self._linear = {function for function, rule in self._rules.items() if rule.is_linear} if cut else set()
        self.rowwise: list[RowwiseCall] = []
        self.anchor = torch.zeros((), requires_grad=True)
        self.ends: list[Tensor] = []
        self.meetings_of: dict[str, int] = dict.fromkeys(parameters, 0)

    def see(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a call of the model; where shared tensors meet examples, arrange that their gradients come to the
        receiver.
        """
        if func in _SPECIAL:
            return self._see_special(func, args, kwargs)
        if not (self._touches(args) or (kwargs and self._touches(kwargs.values()))) or not torch.is_grad_enabled():
            return func(*args, **kwargs)
        if func in self._linear:
            output = self._rowwise(func, args, kwargs)
            if output is not NotImplemented:
                return output
        shared = self._shared
        operands = {p: shared[id(tensor)] for p, tensor in tensors_in(args, kwargs) if id(tensor) in shared}
        event = self._expected
        if event is None or event.function != func or event.shared != tuple(operands):
            return self._run_unexpected(func, args, kwargs)
        refuse_derivatives(func)
        call = SharedCall(func, args, kwargs, operands)
        if not event.is_meeting or not event.measurable or (is_in_place(func) and event.shared == (0,)):
            return self._run_shared(event, call)
        self._advance(event, args, kwargs)
        return self._meet(event, call)

    def _see_special(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A tensor that is made to require a gradient while the model runs: a path of the backward pass ends there."""
        refuse_derivatives(func)
        output = func(*args, **kwargs)
        if args[0].requires_grad:
            self.ends.append(args[0])
        return output

    def _advance(self, event: Event, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Go to the next event, after comparing the sizes of this one with what a trace promised."""
        is_checked = event.measurable or not event.depends
        self._go_on(event, event.sizes(args, kwargs, self._num_examples) if is_checked else ())

    def _go_on(self, event: Event, sizes: Sizes) -> None:
        place = len(self.sizes)
        self.sizes.append(sizes)
        self._expected = next(self._events, None)
        known = self._expected_sizes
        if None in sizes or (known is not None and known[place] != sizes):
            self.has_left_trace = True
            if self._cut:
                raise WrongSizesError(f"{name_of(event.function)} came with other sizes: {sizes}")

    def _rowwise(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The output of an ordinary linear layer on one row per example, or NotImplemented."""
        event = self._expected
        if event is None or event.function is not func or not event.is_rowwise or kwargs:
            return NotImplemented
        x, *parameters = [tensor for tensor in args if tensor is not None]
        names = tuple(self._names[id(p)] for p in parameters if id(p) in self._names)
        if len(names) < len(parameters) or x.ndim != 2 or len(x) != self._num_examples:
            return NotImplemented
        output: Any
        output, call = call_rowwise(names, x, tuple(map(self._stand_in, names, parameters)))
        if output.dtype != x.dtype or output.dtype.itemsize < 4:  # autocast: the rule rounds the inputs too
            return NotImplemented
        self._go_on(event, ((1, x.shape[1]),))
        self.rowwise.append(call)
        for name in names:
            self.meetings_of[name] += 1
        return output

    def _stand_in(self, name: str, parameter: Tensor) -> Tensor:
        leaf = self._stand_ins.get(name)
        if leaf is None:
            leaf = self._stand_ins[name] = parameter.detach().requires_grad_()
        return leaf

    def _touches(self, values: Iterable[Any]) -> bool:
        """Whether a shared tensor is among the arguments; this runs for every call the model makes."""
        shared = self._shared
        for value in values:
            if id(value) in shared:
                return True
            if type(value) in (list, tuple) and any(id(entry) in shared for entry in value):
                return True
        return False

    def _run_unexpected(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A call outside the trace is harmless when no gradient flows through it (a shape, a comparison)."""
        output = func(*args, **kwargs)
        if any(tensor.requires_grad for tensor in tensors_out(output)):
            self.has_left_trace = True
            if self._cut:
                raise TraceMismatchError(name_of(func))
        return output

    def _run_shared(self, event: Event, call: SharedCall) -> Any:
        """Parameters in, parameters out: keep the graph. Also a call that cannot be measured: its parameters escape."""
        output = call.function(*call.args, **call.kwargs)
        tensors = [tensor for tensor in tensors_out(output) if tensor.requires_grad]
        if tensors:
            self._advance(event, call.args, call.kwargs)
        if not event.is_meeting:
            self._derive(call.operands, tensors)
        return output

    def _derive(self, operands: Mapping[Position, Shared], tensors: Iterable[Tensor]) -> None:
        """From here on the tensors are shared, made of the parameters that the operands are made of."""
        roots = frozenset().union(*(operand.roots for operand in operands.values()))
        self._shared.update((id(tensor), Shared(tensor, roots)) for tensor in tensors)

    def _meet(self, event: Event, call: SharedCall) -> Any:
        meeting = self._met(event, call)
        output = self._replace(meeting)
        if output is not NotImplemented:
            return output
        args, kwargs = (meeting.args, meeting.kwargs) if self._cut else (call.args, call.kwargs)
        output = call.function(*args, **kwargs)
        if output._is_view() and not any(output._base is tensor for _, tensor in tensors_in(call.args, call.kwargs)):
            # A view of memory nobody else has (F.linear with a bias on [N, T, d]) loses its hook when it is changed in
            # place later; the same memory, not marked as a view, keeps it.
            output = torch.ops.aten._unsafe_view(output, output.shape)
        if not output.requires_grad:
            output = _Tap.apply(self.anchor, [output])  # type: ignore[no-untyped-call]
        output.register_hook(partial(self._on_gradient, meeting))
        return output

    def _met(self, event: Event, call: SharedCall) -> Meeting:
        """The meeting in a call, counted: its arguments with the parameters cut from the graph, its rule if it has one,
        and the versions of what that reads."""
        values = {position: operand.value for position, operand in call.operands.items()}
        cut, named = replace_at(call.args, call.kwargs, values)
        rule = self._rules.get(call.function)
        rule = rule if rule is not None and rule.accepts(event.layouts) else None
        for operand in set(call.operands.values()):  # expect one Use of each
            for root in operand.roots:
                self.meetings_of[root] += 1
        meeting = Meeting(call.function, cut, named, event, call.operands, rule, [])
        if rule is None or rule.reads_inputs:
            meeting.versions = [(tensor, tensor._version) for tensor in map(meeting.argument, event.layouts)]
        return meeting

    def _replace(self, meeting: Meeting) -> Any:
        """The output of a replacement that also takes over the backward pass, or NotImplemented."""
        function, event = REPLACEMENTS.get(meeting.function) if self._cut else None, meeting.event
        if function is None or event.output != FIRST_AXIS or set(event.layouts.values()) != {FIRST_AXIS}:
            return NotImplemented
        if any(meeting.args[p].shape[0] != self._num_examples for p in event.layouts if isinstance(p, int)):
            return NotImplemented  # several entries per example
        by_value = {id(operand.value): operand for operand in meeting.operands.values()}
        name = f"{name_of(meeting.function)}, whole backward"

        def deliver(uses: Uses) -> None:
            for tensor, use in uses:
                if id(tensor) in by_value:
                    self._receive(by_value[id(tensor)], use, name)

        return function(self.anchor, deliver, *meeting.args, **meeting.kwargs)

    def _on_gradient(self, meeting: Meeting, grad: Tensor) -> None:
        for operand, use, rule in meeting.uses(grad, self._num_examples):
            self._receive(operand, use, rule)
        if self._cut:  # the backward pass runs once: free what it read, as autograd frees what it saved
            meeting.args, meeting.kwargs, meeting.versions = [], {}, []


def backward(
    losses: Tensor, capture: Capture, parameters: Mapping[str, Tensor]
) -> tuple[set[str], list[tuple[str, Tensor, Tensor]]]:
    """Run the backward pass (hooks fire). Returns the names of parameters that autograd reached past the hooks, and
    (parameter, squared norms, summed gradient) of the row-wise calls."""
    calls, capture.rowwise = capture.rowwise, []  # they hold the graph, and parts of the graph hold the capture
    if any(capture.meetings_of[name] > 1 for call in calls for name in call.names):
        raise TraceMismatchError("a parameter is used more often than it was")
    outputs = [call.output for call in calls]
    leaves = [leaf for call in calls for leaf in call.leaves]
    wanted: list[Any] = [capture.anchor, *outputs, *leaves, *parameters.values(), *capture.ends]
    capture.ends = []
    with torch.autocast(losses.device.type, enabled=False):
        try:
            _, *grads = torch.autograd.grad(losses.sum(), wanted, allow_unused=True)
        except RuntimeError as error:
            if "modified by an inplace operation" in str(error):  # training would fail in the same way
                raise changed_in_place(F.linear, [name for call in calls for name in call.names]) from error
            raise
    ends = len(outputs), len(outputs) + len(leaves)
    missed = {name for name, grad in zip(parameters, grads[ends[1] :], strict=False) if grad is not None}
    with torch.no_grad():
        return missed, list(results_of(calls, grads[: ends[0]], grads[slice(*ends)]))
