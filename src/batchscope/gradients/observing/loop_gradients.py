"""The gradients of the loop's own backward passes, read as they are added to `.grad`.

Two hooks on every parameter, on observed steps only: one sees the gradient of this backward pass before it is added to
what `.grad` holds, one confirms that it was added (`torch.autograd.grad` inside a model sends gradients to parameters
without adding them). Neither changes anything. Distributed wrappers average afterwards: these are the rank's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from batchscope.gradients.rules.lazy_gradients import row_norms

OnGradient = Callable[[str, Tensor], None]


class LoopGradients:
    """Calls on_gradient(name, gradient) for every parameter that a backward pass reaches.

    guard: calls a function with arguments and never lets an error through.
    """

    def __init__(self, parameters: Mapping[str, Tensor], on_gradient: OnGradient, guard: Callable[..., object]) -> None:
        self._on_gradient, self._guard = on_gradient, guard
        self._coming: dict[str, Tensor] = {}
        self._handles: list[Any] = []
        for name, parameter in parameters.items():
            before, after = partial(self._guarded, self._see, name), partial(self._guarded, self._added, name)
            self._handles.append(parameter.register_hook(before))  # type: ignore[no-untyped-call]
            self._handles.append(parameter.register_post_accumulate_grad_hook(after))  # type: ignore[no-untyped-call]

    def remove(self) -> None:
        """Take the hooks off."""
        for handle in self._handles:
            handle.remove()
        self._handles, self._coming = [], {}

    def _guarded(self, function: Callable[[str, Tensor], None], name: str, tensor: Tensor) -> None:
        self._guard(function, name, tensor)  # and None: what a hook returns would replace the gradient

    def _see(self, name: str, gradient: Tensor) -> None:
        if not torch.is_grad_enabled():  # else a derivative that is to be differentiated again
            self._coming[name] = gradient

    def _added(self, name: str, parameter: Tensor) -> None:
        gradient = self._coming.pop(name, None)
        if gradient is not None:
            self._on_gradient(name, gradient.detach())


def sq_norm(gradient: Tensor) -> Tensor:
    """‖gradient‖², a float64 scalar tensor; sparse and complex gradients too."""
    gradient = gradient.coalesce().values() if gradient.is_sparse else gradient
    gradient = torch.view_as_real(gradient.resolve_conj()) if gradient.is_complex() else gradient
    if gradient.dtype.itemsize < 4:
        gradient = gradient.float()
    return row_norms(gradient.reshape(1, -1)).double().square().squeeze(0)


FEW = 2**13  # entries up to which squares may be added up in one go, see `row_norms`


def sq_norms(gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`sq_norm` of each; small ones of one kind together, in few operations."""
    small = {name: g for name, g in gradients.items() if g.numel() <= FEW and g.dtype in (torch.float32, torch.float64)}
    small = {name: g for name, g in small.items() if g.layout == torch.strided}
    norms = torch._foreach_norm(list(small.values())) if small else []
    together = torch.stack([norm.double() for norm in norms]).square().unbind() if norms else ()
    found = dict(zip(small, together, strict=True))
    return {name: found[name] if name in found else sq_norm(gradient) for name, gradient in gradients.items()}


def dense(gradient: Tensor) -> Tensor:
    """A private copy, not sparse, in float32 at least."""
    gradient = gradient.to_dense() if gradient.is_sparse else gradient
    return gradient.to(torch.promote_types(gradient.dtype, torch.float32), copy=True)
