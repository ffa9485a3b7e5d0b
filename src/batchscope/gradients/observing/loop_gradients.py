"""The gradients of the loop's own backward passes.

Where `.grad` was empty before a backward pass, it holds that pass's gradients afterwards (`are_empty`, `held`): nothing
has to be attached. Else they are read as they are added to `.grad`, by two hooks on every parameter, on observed steps
only: one sees the gradient of this backward pass before it is added to what `.grad` holds, one confirms that it was
added (`torch.autograd.grad` inside a model sends gradients to parameters without adding them). Neither changes
anything. Distributed wrappers average afterwards: these are the rank's own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from batchscope.gradients.rules.lazy_gradients import row_norms
from batchscope.gradients.subject.subject import full

OnGradient = Callable[[str, Tensor], None]


class LoopGradients:
    """Calls on_gradient(name, gradient) for every parameter that a backward pass reaches.

    guard: calls a function with arguments and never lets an error through.
    """

    def __init__(self, parameters: Mapping[str, Tensor], on_gradient: OnGradient, guard: Callable[..., object]) -> None:
        self._on_gradient, self._guard = on_gradient, guard
        self._coming: dict[str, Tensor] = {}
        self._handles: list[Any] = []
        self._bare = [_Bare(parameter) for parameter in parameters.values()]
        for name, parameter in parameters.items():
            before, after = partial(self._guarded, self._see, name), partial(self._guarded, self._added, name)
            self._handles.append(parameter.register_hook(before))  # type: ignore[no-untyped-call]
            self._handles.append(parameter.register_post_accumulate_grad_hook(after))  # type: ignore[no-untyped-call]

    def remove(self) -> None:
        """Take the hooks off."""
        for handle in self._handles:
            handle.remove()
        if torch._C._current_graph_task_id() < 0:  # else one of them may be running
            for parameter in self._bare:
                parameter.restore()
        self._handles, self._bare, self._coming = [], [], {}

    def _guarded(self, function: Callable[[str, Tensor], None], name: str, tensor: Tensor) -> None:
        self._guard(function, name, tensor)  # and None: what a hook returns would replace the gradient

    def _see(self, name: str, gradient: Tensor) -> None:
        if not torch.is_grad_enabled():  # else a derivative that is to be differentiated again
            self._coming[name] = gradient

    def _added(self, name: str, parameter: Tensor) -> None:
        gradient = self._coming.pop(name, None)
        if gradient is not None:
            self._on_gradient(name, gradient.detach())


class _Bare:
    """Whether a parameter had tables of hooks. An empty one that is left behind is looked into in every backward pass,
    which costs a small model some per cent of a step."""

    def __init__(self, parameter: Tensor) -> None:
        tables = ("_backward_hooks", "_post_accumulate_grad_hooks")
        self._parameter, self._missing = parameter, [name for name in tables if getattr(parameter, name) is None]

    def restore(self) -> None:
        """Take away the tables that were not there and are empty."""
        for name in self._missing:
            if not getattr(self._parameter, name):
                setattr(self._parameter, name, None)


def are_empty(parameters: Mapping[str, Tensor]) -> bool:
    """Whether what the next backward pass leaves in `.grad` will be its gradients and nothing else: nothing is there
    yet, and no hook of the user takes them away (an optimizer fused into the backward pass)."""
    return all(p.grad is None and not p._post_accumulate_grad_hooks for p in parameters.values())


def held(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Parameter -> what `.grad` holds."""
    found = {}
    for name, parameter in parameters.items():
        gradient = parameter.grad
        if gradient is not None:
            found[name] = gradient.detach() if gradient.requires_grad else gradient
    return found


def sq_norm(gradient: Tensor) -> Tensor:
    """‖gradient‖², a float64 scalar tensor; sparse and complex gradients too."""
    gradient = gradient.coalesce().values() if gradient.is_sparse else gradient
    gradient = torch.view_as_real(gradient.resolve_conj()) if gradient.is_complex() else gradient
    if gradient.dtype.itemsize < 4:
        gradient = gradient.float()
    return row_norms(gradient.reshape(1, -1)).double().square().squeeze(0)


def is_zero(gradient: Tensor) -> bool:
    """Whether no entry differs from zero; sparse gradients too."""
    return not bool((gradient.coalesce().values() if gradient.is_sparse else gradient).any())


FEW = 2**16  # entries up to which squares may be added up in one go, see `row_norms`


def sq_norms(gradients: Collection[Tensor]) -> Tensor:
    """`sq_norm` of each, in order; small ones of one kind together, in few operations."""
    small = [g for g in gradients if g.numel() <= FEW and g.dtype == torch.float32 and g.layout == torch.strided]
    if not small:
        return torch.stack([sq_norm(gradient) for gradient in gradients])
    together = torch.stack(torch._foreach_norm(small)).double().square()
    if len(small) == len(gradients):
        return together
    found = dict(zip(map(id, small), together.unbind(), strict=True))
    return torch.stack([found[id(g)] if id(g) in found else sq_norm(g) for g in gradients])


def dense(gradient: Tensor) -> Tensor:
    """A private copy with every entry there, in float32 at least."""
    return full(gradient, copy=True)
