"""Hooks on the outputs of a forward pass, which tell of the gradients that the loop's backward pass brings there."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from batchscope.gradients.observing.outputs import before_cast, tensors_of
from batchscope.gradients.observing.passes import ForwardPass

Receive = Callable[[ForwardPass, int, Tensor], None]


def await_gradients(one: ForwardPass, receive: Receive) -> None:
    """Call receive(one, position, gradient) for every gradient that arrives at an output of the recording."""
    for position, tensor in enumerate(one.recording.outputs):
        assert tensor.grad_fn is not None
        hook = _AtOutput(receive, one, position, tensor.output_nr)
        one.handles.append(tensor.grad_fn.register_prehook(hook))  # after the user's own hooks on the tensor
        if (source := before_cast(tensor)) is not None:
            one.handles.append(source[0].register_prehook(_BeforeCast(receive, one, position, source[1])))


def await_any(output: Any, tell: Callable[[], object]) -> None:
    """Call tell() once, when the first backward pass reaches an output that is not observed."""
    seen: list[bool] = []

    def hook(gradient: Tensor) -> None:
        if not seen and not torch.is_grad_enabled():
            seen.append(True)
            tell()

    first = next((tensor for tensor in tensors_of(output) if tensor.grad_fn is not None), None)
    if first is not None:
        first.register_hook(hook)  # type: ignore[no-untyped-call]


class _AtOutput:
    """Hands the gradient of an output to `receive`. index: which result of its node the output is."""

    def __init__(self, receive: Receive, one: ForwardPass, position: int, index: int) -> None:
        self._receive, self._one, self._position, self._index = receive, one, position, index

    def __call__(self, gradients: tuple[Tensor | None, ...]) -> None:
        gradient = gradients[self._index]
        if gradient is not None:
            self._receive(self._one, self._position, gradient)


class _BeforeCast:
    """Hands on the gradient of what an output was cast from, where none arrived at the output itself.

    The node it hangs on belongs to the loop's graph: a weak reference keeps nothing alive with it.
    """

    def __init__(self, receive: Receive, one: ForwardPass, position: int, index: int) -> None:
        self._receive, self._one, self._position, self._index = receive, weakref.ref(one), position, index

    def __call__(self, gradients: tuple[Tensor | None, ...]) -> None:
        one, gradient = self._one(), gradients[self._index]
        if one is not None and gradient is not None and self._position not in one.recording.gradients:
            self._receive(one, self._position, gradient)
