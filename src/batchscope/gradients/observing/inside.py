"""The fast way: per-example norms formed while the loop's own forward and backward pass run.

A mode sees the calls of the forward pass, and a hook on the output of each meeting (see tracing) receives its output
gradient. Nothing is replaced, nothing is computed in the loop's graph: the calls run with the arguments they came with.
An error in here is kept and reported; it never reaches the model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.overrides import _get_current_function_mode_stack, _pop_mode, _push_mode

from batchscope.gradients.backward.capture import Capture
from batchscope.gradients.backward.collect import Collector
from batchscope.gradients.backward.meeting import Meeting, SharedCall
from batchscope.gradients.backward.planner import Planner
from batchscope.gradients.observing.linear_rows import LinearRow, RowSquares, linear_row
from batchscope.gradients.rules import RULES
from batchscope.gradients.subject.state import unseen
from batchscope.gradients.tracing.calls import Function, is_in_place, tensors_in, tensors_out
from batchscope.gradients.tracing.trace import Event, Trace

_ROWWISE = {function for function, rule in RULES.items() if rule.is_linear}
TWICE = "the gradient is differentiated again, or there are two backward passes"


class CannotObserveInside(Exception):  # noqa: N818 - a finding, not a fault
    """The loop's own passes do not give the per-example gradients; a second pass may."""


class InsideCapture(Capture):
    """Follows a trace through the loop's forward pass. error: the first thing that went wrong."""

    def __init__(
        self, parameters: Mapping[str, Tensor], trace: Trace, num_examples: int, planner: Planner, norms_alone: bool
    ) -> None:
        self.collector = Collector(parameters, planner, num_examples, norms_alone=norms_alone)
        super().__init__(parameters, trace, {}, num_examples, self.collector.receive, cut=False)
        self.collector.meetings_of = self.meetings_of
        self.error: Exception | None = None
        self.is_idle = False  # nothing more is to be seen
        self._fired: dict[int, int] = {}
        self._meetings: list[tuple[str, ...]] = []  # of each, the parameters
        self._rows: list[LinearRow] = []
        self.row_sums: tuple[tuple[str, ...], Tensor] | None = None  # of rows, where no more is wanted

    def __torch_function__(
        self, func: Function, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if (
            self.is_idle
            or self.error is not None
            or not (self._touches(args) or (kwargs and self._touches(kwargs.values())))
            or not torch.is_grad_enabled()
        ):
            return func(*args, **kwargs)
        shared = self._shared  # what was in place before the call: its arguments may be changed by it
        operands = {place: shared[id(tensor)] for place, tensor in tensors_in(args, kwargs) if id(tensor) in shared}
        output = func(*args, **kwargs)
        try:
            unseen(self._see, SharedCall(func, args, kwargs, operands), output)
        except Exception as error:
            self.error = error
        return output

    def _see(self, call: SharedCall, output: Any) -> None:
        """A call with parameters, or with what is computed from parameters alone, has been made."""
        event = self._expected
        if event is not None and (event.function != call.function or event.shared != tuple(call.operands)):
            event = None
        is_ordinary = event is not None and call.function in _ROWWISE and not call.kwargs
        if event is None or not is_ordinary or not self._row(event, call.args, output):
            self._follow(event, call, output)

    def leave(self) -> None:
        """End of the forward pass: off the stack of modes, wherever on it; others may have come on top meanwhile."""
        if self not in _get_current_function_mode_stack():  # type: ignore[no-untyped-call]
            return
        above = []
        while (top := _pop_mode()) is not self:  # type: ignore[no-untyped-call]
            above.append(top)
        for mode in reversed(above):
            _push_mode(mode)  # type: ignore[no-untyped-call]

    def finish(self, reached: Iterable[str]) -> None:
        """After the backward pass: raise what went wrong. reached: the parameters that got a gradient."""
        reached = frozenset(reached)
        if self.error is not None:
            raise self.error
        if self.has_left_trace:
            raise CannotObserveInside("the model made other calls than on the first batch (its shapes changed)")
        for number, names in enumerate(self._meetings):
            if self._fired.get(number, 0) != 1 and any(name in reached for name in names):
                times = self._fired.get(number, 0)
                raise CannotObserveInside(
                    f"a gradient reached {names[0]!r} {times} times, not once, at one of its calls"
                )
        for call in self._rows:
            if call.times != 1 and any(name in reached for name in call.names):
                raise CannotObserveInside(
                    f"a gradient reached the call of {call.names[0]!r} {call.times} times, not once"
                )
        if unseen := [name for name, count in self.meetings_of.items() if not count and name in reached]:
            raise CannotObserveInside(f"{unseen[0]!r} got a gradient from a call that was not seen")
        self.collector.finish()
        if (rows := RowSquares.of(self._rows)) is not None:
            if self.collector.norms_alone:
                self.row_sums = rows.sums()
            else:
                self.collector.add_rowwise(rows.results())

    def _row(self, event: Event, args: tuple[Any, ...], output: Tensor) -> bool:
        """Watch an ordinary linear layer on a row per example; False where it is none."""
        with_sums = not self.collector.norms_alone
        call = linear_row(event, args, output, self._names, self._num_examples, with_sums)
        if call is None or not output.requires_grad:
            return False
        self._expected = next(self._events, None)
        self._rows.append(call)
        for name in call.names:
            self.meetings_of[name] += 1

        _on_gradient_of_node(output, partial(self._receive_row, call))
        return True

    def _receive_row(self, call: LinearRow, grad: Tensor) -> None:
        if self.error is not None or self.is_idle:
            return
        try:
            if not unseen(call.receive, grad):
                what = f"the input of the call of {call.names[0]!r} was changed in place"
                self.error = CannotObserveInside(f"{what}, or {TWICE}")
        except Exception as error:
            self.error = error

    def _follow(self, event: Event | None, call: SharedCall, output: Any) -> None:
        tensors = [tensor for tensor in tensors_out(output) if tensor.requires_grad]
        if event is None:
            self.has_left_trace |= bool(tensors)
            return
        if event.is_meeting and event.measurable and not (is_in_place(call.function) and event.shared == (0,)):
            self._expected = next(self._events, None)
            self._watch(event, call, output)
            return
        if tensors:
            self._expected = next(self._events, None)
        if event.is_meeting:
            name = getattr(call.function, "__name__", call.function)
            raise CannotObserveInside(f"a call of {name} has a form that cannot be measured")
        self._derive(call.operands, tensors)

    def _watch(self, event: Event, call: SharedCall, output: Tensor) -> None:
        """Await the output gradient of a meeting."""
        meeting = self._met(event, call)
        number = len(self._meetings)
        self._meetings.append(tuple({root: None for operand in call.operands.values() for root in operand.roots}))
        _on_gradient_of(output, call.args, partial(self._receive_at, number, meeting))

    def _receive_at(self, number: int, meeting: Meeting, grad: Tensor) -> None:
        if self.error is not None or self.is_idle:
            return
        self._fired[number] = self._fired.get(number, 0) + 1
        try:
            if torch.is_grad_enabled() or self._fired[number] > 1:
                raise CannotObserveInside(TWICE)
            unseen(self._receive_uses, meeting, grad)
        except Exception as error:
            self.error = error
        meeting.args, meeting.kwargs, meeting.versions = [], {}, []

    def _receive_uses(self, meeting: Meeting, grad: Tensor) -> None:
        with torch.no_grad():
            for operand, use, rule in meeting.uses(grad, self._num_examples):
                self._receive(operand, use, rule)


def _on_gradient_of(output: Tensor, args: tuple[Any, ...], receive: Any) -> None:
    """Call receive(gradient) for the output of a call, also where the output is changed in place afterwards.

    A linear layer with a bias on [N, T, d] returns a view of [N·T, d]. Changing the view in place takes the view's own
    place out of the graph; the place of what it is a view of stays.
    """
    base = output._base if output._is_view() else None
    if base is None or base.grad_fn is None or not _is_whole(output, base) or _is_operand(base, args):
        _on_gradient_of_node(output, receive)
        return
    shape = output.shape

    def before(grads: tuple[Tensor | None, ...]) -> None:
        if grads[0] is not None:
            receive(grads[0].reshape(shape))

    base.grad_fn.register_prehook(before)


def _on_gradient_of_node(output: Tensor, receive: Any) -> None:
    """Call receive(gradient) after the hooks that the user may have put on the output."""
    index = output.output_nr

    def before(grads: tuple[Tensor | None, ...]) -> None:
        if grads[index] is not None:
            receive(grads[index])

    assert output.grad_fn is not None
    output.grad_fn.register_prehook(before)


def _is_whole(view: Tensor, base: Tensor) -> bool:
    """Whether a view shows all of its base, in order."""
    return base.numel() == view.numel() and base.is_contiguous() and view.is_contiguous()


def _is_operand(base: Tensor, args: tuple[Any, ...]) -> bool:
    """Whether a tensor, or a view of it, is among the arguments of a call."""
    return any(base is tensor or base is tensor._base for tensor in args if isinstance(tensor, Tensor))
