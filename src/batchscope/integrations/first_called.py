"""Which module a training step calls, where a trainer does not say: the first one that is called shows itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from batchscope.errors import InputError


class FirstCalled:
    """Waits for the first call, with gradients, of a module or of a part that holds all its trainable parameters.

    found(part) is called in that call, before its forward pass; hooks that it adds to the part see the call already.
    `end` raises InputError when there was no call.
    """

    def __init__(self, module: nn.Module, found: Callable[[nn.Module], None]) -> None:
        self._found = found
        count = _num_trainable(module)
        parts = [part for part in module.modules() if _num_trainable(part) == count]
        self._handles = [part.register_forward_pre_hook(self._on_call, with_kwargs=True) for part in parts]

    def end(self) -> None:
        """Wait no longer."""
        waited = bool(self._handles)
        self._remove()
        if waited:
            raise InputError(
                "nothing was observed: training_step called neither the LightningModule nor one part of it that holds "
                "all its trainable parameters; say module='name' of the part that it calls with a batch"
            )

    def _on_call(self, part: nn.Module, args: Any, kwargs: Any) -> None:
        # with several processes Lightning redirects a call of the whole module to its training_step, by a forward that
        # it puts on the instance: what that calls comes next
        if not self._handles or not torch.is_grad_enabled() or "forward" in vars(part):
            return
        self._remove()
        before = set(part._forward_pre_hooks)
        self._found(part)
        for key, hook in list(part._forward_pre_hooks.items()):
            if key not in before:  # torch has already made its list of the hooks of this call
                hook(part, args, kwargs)

    def _remove(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []


def _num_trainable(module: nn.Module) -> int:
    return sum(parameter.requires_grad for parameter in module.parameters())
