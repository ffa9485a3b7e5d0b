"""Which models can be measured: wrappers are looked through; what has no gradients of its own to show is refused."""

from __future__ import annotations

from torch import nn
from torch.nn.parameter import is_lazy

from batchscope.errors import InputError, MeasurementError


def unwrap(model: nn.Module) -> nn.Module:
    """The module inside torch.compile or data-parallel wrappers: its parameters and calls are the same."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inner = model.module
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def admit(model: nn.Module) -> None:
    """Raise for a model that cannot be measured as it is, naming the remedy."""
    if not isinstance(model, nn.Module):
        raise InputError(f"the model is a {type(model).__name__}: expected a torch.nn.Module")
    for name, parameter in [*model.named_parameters(), *model.named_buffers()]:
        if is_lazy(parameter):
            raise InputError(
                f"{name!r} is lazy, its shape not yet known: run the model once on a batch, then measure it"
            )
        if parameter.device.type == "meta":
            raise InputError(
                f"{name!r} is on the meta device and holds no numbers: load the model with values "
                "(model.to_empty(device=...) and load_state_dict), then measure it"
            )
        if type(parameter).__name__ == "DTensor" or type(parameter.data).__name__ == "DTensor":
            raise InputError(
                f"{name!r} is sharded (DTensor, as fully_shard makes them): measure the model before sharding, or one "
                "with the gathered state dict"
            )
        if parameter.is_inference():
            raise InputError(f"{name!r} was created under torch.inference_mode: build the model outside of it")
    for name, module in model.named_modules():
        if type(module).__name__ == "FullyShardedDataParallel":
            raise InputError(
                f"{name or 'the model'!r} is a FullyShardedDataParallel: measure the module before wrapping, or one "
                "with "
                "the gathered state dict"
            )
        _admit_table(name, module)


def _admit_table(name: str, module: nn.Module) -> None:
    if not isinstance(module, nn.Embedding | nn.EmbeddingBag):
        return
    if module.max_norm is not None:
        raise MeasurementError(f"{name!r} has max_norm: its forward pass changes its weight; set max_norm=None")
    if module.scale_grad_by_freq:
        raise MeasurementError(
            f"{name!r} has scale_grad_by_freq: an example's gradient depends on its batch; set it False"
        )
