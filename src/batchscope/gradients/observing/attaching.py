"""Getting told of the model's forward passes, and leaving no trace of it."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

Before = Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], None]
After = Callable[[Any], None]


# Of the standard library, takes any arguments and returns None: a file with a copy of the model can be read where this
# library is not installed.
_NOTHING: tuple[Callable[..., Any], tuple[Any, ...]] = (
    partial,
    (sys.audit, "a hook of a training run that was observed"),
)


class _Hook:
    """A forward hook. A copy of the model, or a file it is saved to, gets one that does nothing."""

    _told = slice(None)  # which of the hook's arguments the function gets

    def __init__(self, function: Callable[..., None]) -> None:
        self._function = weakref.WeakMethod(function)

    def __call__(self, *arguments: Any) -> None:
        if torch.compiler.is_compiling():  # the call is being compiled into something larger: stay out of it
            return
        function = self._function()
        if function is not None:
            function(*arguments[self._told])

    def __deepcopy__(self, memo: Any) -> Any:
        return _NOTHING[0](*_NOTHING[1])

    def __reduce__(self) -> tuple[Any, ...]:
        return _NOTHING


class Attachment:
    """Calls before(module, args, kwargs) and after(output) around every call of the model.

    model: as the loop calls it. inner: the module inside its wrappers. before, after: methods.
    after is called also when the forward pass fails, then with None.
    """

    def __init__(self, model: nn.Module, inner: nn.Module, before: Any, after: Any) -> None:
        self._inner = inner
        # torch.compile leaves out or compiles the hooks of what it compiled: hooks go on the wrapper
        wrapper = _compiled_wrapper(model)
        called = inner if wrapper is None else wrapper
        self._handles = [
            called.register_forward_pre_hook(_Hook(self._before), with_kwargs=True),
            called.register_forward_hook(_AfterHook(after), always_call=True),
        ]
        self._tell = before
        self._compiled = None
        if called is inner and getattr(inner, "_compiled_call_impl", None) is not None:  # model.compile()
            self.remove()
            self._compiled = inner._compiled_call_impl
            inner._compiled_call_impl = _around(inner, self._compiled, before, after)

    def _before(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        hooks, mine = module._forward_hooks, self._handles[1].id if self._handles else -1
        if mine not in hooks:  # the user has taken off all hooks: the end of the call would not be seen
            return
        if next(reversed(hooks)) != mine:  # hooks that were put on later may change the output
            hooks[mine] = hooks.pop(mine)
        self._tell(module, args, kwargs)

    def remove(self) -> None:
        """Take the hooks off and give a compiled module its compiled call back."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        if getattr(self, "_compiled", None) is not None:
            self._inner._compiled_call_impl = self._compiled
            self._compiled = None


class _AfterHook(_Hook):
    _told = slice(2, 3)  # the output


def _around(module: nn.Module, compiled: Any, before: Before, after: After) -> Any:
    """The compiled call with the hooks outside it."""

    def call(*args: Any, **kwargs: Any) -> Any:
        before(module, args, kwargs)
        output = None
        try:
            output = compiled(*args, **kwargs)
        finally:
            after(output)
        return output

    return call


def _compiled_wrapper(model: nn.Module) -> nn.Module | None:
    """The outermost torch.compile wrapper around the model."""
    while isinstance(model, nn.Module):
        if hasattr(model, "_orig_mod"):
            return model
        if not isinstance(model, nn.parallel.DistributedDataParallel):
            return None
        model = model.module
    return None


def is_compiled(model: nn.Module) -> bool:
    """Whether the model or one of its modules is compiled."""
    return any(hasattr(m, "_orig_mod") or getattr(m, "_compiled_call_impl", None) is not None for m in model.modules())


def is_sharded(model: nn.Module) -> bool:
    """Whether parameters are spread over processes (FSDP, fully_shard, tensor parallelism)."""
    classes = {kind.__name__ for module in model.modules() for kind in type(module).__mro__}
    return bool(classes & {"FullyShardedDataParallel", "FSDPModule"}) or any(
        type(parameter).__name__ == "DTensor" or type(parameter.data).__name__ == "DTensor"
        for parameter in model.parameters()
    )
