"""The trained tensors of any module, counted on the meta device: no memory, no arithmetic."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from batchscope.architectures.parameter import Parameter
from batchscope.errors import InputError


def count_tensors(
    make: Callable[[], nn.Module], input_shape: tuple[int, ...], d_out: int, family: str
) -> dict[str, Parameter]:
    """Return every trained tensor of ``make()``, in the module's order, with the positions of its weights.

    A weight [out, in, ...] of a layer is applied at as many positions as the layer's output for one example has numbers
    divided by `out`. Raises InputError, which names the family, when the module does not map [N, *input_shape] to
    [N, d_out].
    """
    with torch.device("meta"):
        module = make().eval()
        positions: dict[nn.Module, int] = {}
        for layer in module.modules():
            layer.register_forward_hook(lambda layer, _, output: _note(positions, layer, output))
        outputs = module(torch.empty(1, *input_shape))
    if tuple(outputs.shape) != (1, d_out):
        raise InputError(
            f"family {family!r} made a module from (1, {', '.join(map(str, input_shape))}) to "
            f"{tuple(outputs.shape)}; expected (1, {d_out})"
        )
    layers = dict(module.named_modules())

    def parameter(name: str, shape: tuple[int, ...]) -> Parameter:
        layer = layers[name.rpartition(".")[0]]
        return Parameter(shape, positions.get(layer, 1) if len(shape) > 1 else 1)

    return {name: parameter(name, tuple(tensor.shape)) for name, tensor in module.named_parameters()}


def _note(positions: dict[nn.Module, int], layer: nn.Module, output: object) -> None:
    weight = getattr(layer, "weight", None)
    if isinstance(weight, Tensor) and isinstance(output, Tensor) and weight.dim() > 1:
        positions[layer] = positions.get(layer, 0) + output.numel() // len(weight)
