"""Calls of torch functions, seen as flat lists of tensors, and the mode that sees them.

A `TorchFunctionMode` is active while the model runs. It sees every use of a parameter, whoever makes it: a module,
`F.linear`, `x @ w.T`, a parametrisation, a Hugging Face layer. Nothing is attached to the model and the mode ends with
the forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from batchscope.errors import MeasurementError

Position = int | str | tuple[int | str, int]  # of an argument: index, keyword, or (index or keyword, place in a list)
Function = Callable[..., Any]


def tensors_in(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Iterator[tuple[Position, Tensor]]:
    """Every tensor among the arguments with its position; lists and tuples of tensors are entered, one level deep."""
    keyed: list[tuple[int | str, Any]] = [*enumerate(args), *kwargs.items()]
    for key, value in keyed:
        if isinstance(value, Tensor):
            yield key, value
        elif isinstance(value, list | tuple):
            for place, entry in enumerate(value):
                if isinstance(entry, Tensor):
                    yield (key, place), entry


def replace_at(
    args: tuple[Any, ...], kwargs: Mapping[str, Any], tensors: Mapping[Position, Tensor]
) -> tuple[list[Any], dict[str, Any]]:
    """Copies of the arguments with the tensors at the given positions replaced."""
    new_args, new_kwargs = list(args), dict(kwargs)
    for position, tensor in tensors.items():
        key, place = position if isinstance(position, tuple) else (position, None)
        container: Any = new_kwargs if isinstance(key, str) else new_args
        if place is None:
            container[key] = tensor
        else:
            container[key] = [*container[key][:place], tensor, *container[key][place + 1 :]]
    return new_args, new_kwargs


def tensors_out(output: Any) -> list[Tensor]:
    """The tensors a call returned: one, several, or none."""
    if isinstance(output, Tensor):
        return [output]
    return [entry for entry in output if isinstance(entry, Tensor)] if isinstance(output, list | tuple) else []


def name_of(function: Function) -> str:
    """A readable name: `linear`, `layer_norm`, `add`."""
    name = str(getattr(function, "__name__", function))
    owner = getattr(function, "__self__", None)
    return str(getattr(owner, "__name__", name)) if name == "__get__" else name


class Interceptor(TorchFunctionMode):
    """Replaces some functions by others while the model runs; subclasses also see every remaining call.

    rewrites: function -> what is called instead, with this mode active again, so that the calls inside are seen.
    """

    def __init__(self, rewrites: Mapping[Function, Function]) -> None:
        super().__init__()
        self.rewrites = rewrites

    def __torch_function__(
        self, func: Function, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in self.rewrites:
            with self:
                output = self.rewrites[func](*args, **kwargs)
            if output is not NotImplemented:
                return output
        return self.see(func, args, kwargs)

    def see(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A call of a torch function: run it and return its output; subclasses do more."""
        return func(*args, **kwargs)


def is_in_place(function: Function) -> bool:
    """Whether a function changes its first argument, as torch names it: `add_`, `__setitem__`, `__iadd__`."""
    name = name_of(function)
    return (name.endswith("_") and not name.endswith("__")) or name in ("__setitem__", "__set__") or name[:3] == "__i"


def changed_in_place(function: Function, names: Iterable[str]) -> MeasurementError:
    """The error for a call of `function` with the parameters `names` whose input did not stay as it was."""
    return MeasurementError(
        f"an input of {name_of(function)} was changed in place after it was used, so the gradient of {sorted(names)} "
        "cannot be formed: use the out-of-place form of the operation that follows it"
    )


def accumulation_dtype(dtype: torch.dtype) -> torch.dtype:
    """Norms and sums are formed in float32 at least: half-precision sums overflow or lose small terms."""
    return torch.promote_types(dtype, torch.float32)
