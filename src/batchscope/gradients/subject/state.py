"""What a measurement must leave as it found it: buffers, attributes, `.grad`, training flags, random states; and how
the model's code is run meanwhile: eagerly, without recomputation, with gradients on."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.utils.parametrize as parametrize
import torch.utils.checkpoint as checkpointing
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import _disable_current_modes


class Buffers:
    """The buffers of some modules as they were, changed in place or bound anew since.

    earlier: those of the same modules before; copies of tables that nothing has written since are shared with them.
    """

    def __init__(self, modules: Iterable[nn.Module], earlier: Buffers | None = None) -> None:
        self._owners = [(module, dict(module._buffers)) for module in modules if module._buffers]
        kept = {id(b): b for _, buffers in self._owners for b in buffers.values() if b is not None}
        copies = {} if earlier is None else earlier._tables()
        self._versions = [_version(buffer) for buffer in kept.values()]
        self._values = [
            (buffer, copies[key] if (key := (id(buffer), version)) in copies else buffer.detach().clone())
            for buffer, version in zip(kept.values(), self._versions, strict=True)
        ]

    def _tables(self) -> dict[tuple[int, int], Tensor]:
        """(identity, version) of a buffer -> its copy, which holds until an operation writes the buffer."""
        pairs = zip(self._values, self._versions, strict=True)
        return {
            (id(buffer), version): copy
            for (buffer, copy), version in pairs
            if not _is_vector(buffer) and not buffer.is_inference()
        }

    def restore(self) -> None:
        """Put back what changed. Large tables that no operation has written are not copied; vectors always are, because
        the kernels of normalisation update running statistics without raising their version."""
        for module, buffers in self._owners:
            if module._buffers.keys() != buffers.keys() or any(module._buffers[k] is not b for k, b in buffers.items()):
                rebind(module._buffers, buffers)
        for place, (buffer, before) in enumerate(self._values):
            if _version(buffer) != self._versions[place]:
                with torch.no_grad():
                    buffer.copy_(before)
                self._versions[place] = _version(buffer)
            elif _is_vector(buffer):
                buffer.data.copy_(before)  # without a new version: a graph may hold the buffer, at this very value


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


def _is_vector(buffer: Tensor) -> bool:
    """Whether a kernel may write it unseen, as those of normalisation write running statistics."""
    return buffer.ndim <= 1 and buffer.is_floating_point()


def _always() -> bool:
    return True


@contextmanager
def untouched(model: nn.Module, owns_gradients: Callable[[], bool] = _always) -> Iterator[None]:
    """Leave the model and the random states of torch, numpy and python as they were, also after an exception.

    Buffers (running statistics, power-iteration vectors), other attributes of modules, training flags and `.grad`.
    owns_gradients: whether, afterwards, nobody else can have written `.grad`: else it stays as it then is.
    """
    modules = list(model.modules())
    held = [m.__dict__ for m in modules] + [m._modules for m in modules] + [m._parameters for m in modules]
    attributes = [(mapping, dict(mapping)) for mapping in held]
    buffers, gradients = Buffers(model.modules()), [(p, p.grad) for p in model.parameters()]
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    devices = [device] if device.type == "cuda" else []
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the user's generator is kept, not used
    try:
        with torch.random.fork_rng(devices=devices), apart():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002
        for mapping, before in attributes:
            rebind(mapping, before)
        buffers.restore()
        for parameter, gradient in gradients if owns_gradients() else ():
            if parameter.grad is not gradient:
                parameter.grad = gradient


@contextmanager
def containers_untouched(model: nn.Module) -> Iterator[None]:
    """Lists, dicts and sets that modules hold as attributes keep their entries, as `untouched` keeps attributes."""
    held = [
        (value, value.copy())
        for module in model.modules()
        for key, value in module.__dict__.items()
        if type(value) in (list, dict, set) and not key.startswith("_")
    ]
    try:
        yield
    finally:
        for value, before in held:
            value.clear()
            value.extend(before) if isinstance(value, list) else value.update(before)


def rebind(mapping: dict[str, Any], before: Mapping[str, Any]) -> None:
    """Give `mapping` the entries it had, in place."""
    for key in mapping.keys() - before.keys():
        del mapping[key]
    mapping.update(before)


@contextmanager
def apart() -> Iterator[None]:
    """Passes in here see nothing of a surrounding pass of the user, and leave nothing in it: hooks on saved tensors
    (activation checkpointing around the whole model, offloading) and cached weights (parametrisations, autocast), which
    would carry a graph from one into the other."""
    kept = parametrize._cache_enabled, parametrize._cache, torch.is_autocast_cache_enabled()
    with ExitStack() as stack:
        if torch._C._autograd._top_saved_tensors_default_hooks(True) is not None:
            stack.enter_context(saved_tensors_hooks(_packed, _unpacked))
        parametrize._cache_enabled, parametrize._cache = 0, {}
        torch.set_autocast_cache_enabled(False)
        try:
            yield
        finally:
            parametrize._cache_enabled, parametrize._cache = kept[:2]
            torch.set_autocast_cache_enabled(kept[2])


def _packed(tensor: Tensor) -> Tensor:
    """Without the graph, or an output saved for its own backward pass would keep itself alive."""
    with torch._C.DisableTorchFunction():
        return tensor.detach()


def _unpacked(tensor: Tensor) -> Tensor:
    return tensor


def unseen(function: Callable[..., Any], *arguments: Any) -> Any:
    """function(*arguments), its operations hidden from dispatch modes of the user (checkpoints that keep some results,
    counts of operations)."""
    if not torch._C._len_torch_dispatch_stack():
        return function(*arguments)
    with _disable_current_modes():
        return function(*arguments)


@contextmanager
def eager() -> Iterator[None]:
    """Run compiled modules as they were written, and checkpointed segments without dropping their activations.

    A compiled or recomputed segment does not show its calls. Nothing is compiled anew, and what is compiled stays so.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.compiler.set_stance("force_eager"))
        stack.enter_context(_without_checkpointing())
        yield


class _Direct:
    """In place of the reentrant variant's autograd function: the call itself."""

    @staticmethod
    def apply(function: Any, preserve_random_state: bool, *args: Any) -> Any:
        return function(*args)


def _nothing(*args: Any, **kwargs: Any) -> Iterator[None]:
    """In place of the other variant's hooks on saved tensors."""
    yield


@contextmanager
def _without_checkpointing() -> Iterator[None]:
    """`torch.utils.checkpoint.checkpoint` has no switch; what it looks up at each call is replaced meanwhile."""
    names = {"CheckpointFunction": _Direct, "_checkpoint_without_reentrant_generator": _nothing}
    before = {name: getattr(checkpointing, name) for name in names}
    for name, replacement in names.items():
        setattr(checkpointing, name, replacement)
    try:
        yield
    finally:
        for name, original in before.items():
            setattr(checkpointing, name, original)
