"""The trained tensors of any module, counted on the meta device: no memory, no arithmetic."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from batchscope.architectures.parameter import Counted, Parameter, RefusedError
from batchscope.errors import InputError

# Examples passed through a user's network to count it: two, so that an axis of examples is seen to be one.
EXAMPLES = 2
Make = Callable[[], nn.Module]


def count_tensors(
    make: Make, input_shape: tuple[int, ...], output_shape: tuple[int, ...], family: str, tokens: bool = False
) -> dict[str, Parameter]:
    """Return every trained tensor of ``make()``, in the module's order, with the positions of its weights.

    A weight [out, in, ...] of a layer is applied at as many positions as the layer's output for one example has numbers
    divided by `out`. tokens: whether inputs are token numbers. Raises InputError, which names the family, when the
    module does not map [N, *input_shape] to [N, *output_shape].
    """
    with torch.device("meta"):
        module = make().eval()
        positions = _watched(module)
        outputs = module(torch.zeros(1, *input_shape, dtype=torch.int64 if tokens else torch.float32))
    if tuple(outputs.shape) != (1, *output_shape):
        raise InputError(
            f"family {family!r} made a module from {(1, *input_shape)} to {tuple(outputs.shape)}; expected "
            f"{(1, *output_shape)}"
        )
    return _named(module, positions)


def count_module(make: Make, input_shape: tuple[int, ...], what: str) -> Counted:
    """Return what a network of the user's code has, multiplications by PyTorch's own counter.

    On the meta device where the code runs there, else on the CPU; examples are floats, or token numbers where floats
    are refused. what: the network, for messages. Raises RefusedError when the code raises, InputError when it makes no
    module, other networks for equal arguments, parameters that are not trained, or no outputs [N, ...].
    """
    errors: list[Exception] = []
    for device in ("meta", "cpu"):
        for dtype in (torch.float32, torch.int64):
            try:
                return _count(make, input_shape, what, torch.device(device), dtype)
            except InputError:
                raise
            except Exception as error:  # whatever the user's code raises
                errors.append(error)
    told = errors[-2]  # on the CPU, with floats
    raise RefusedError(f"{what}, examples of shape {input_shape}: it raised {type(told).__name__}: {told}") from told


def required_module(made: object, what: str) -> nn.Module:
    """What a user's function returned, if it is a module."""
    if isinstance(made, nn.Module):
        return made
    raise InputError(f"{what}: the function returned a {type(made).__name__}; expected a torch.nn.Module")


def _count(make: Make, shape: tuple[int, ...], what: str, device: torch.device, dtype: torch.dtype) -> Counted:
    with torch.random.fork_rng(devices=[]), device:
        module, again = make().eval(), make()
        _check_trained(module, again, what)
        positions = _watched(module)
        with FlopCounterMode(display=False) as flops:  # with gradients: fused kernels without them are not counted
            outputs = module(torch.zeros(EXAMPLES, *shape, dtype=dtype))
    if not isinstance(outputs, Tensor) or outputs.dim() < 2 or len(outputs) != EXAMPLES:
        got = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise InputError(
            f"{what}: the module makes {got} of examples {(EXAMPLES, *shape)}; expected a tensor with one row for each "
            "example"
        )
    parameters = {name: _of_one_example(parameter) for name, parameter in _named(module, positions).items()}
    by_layers = sum(p.size * p.positions for p in parameters.values() if p.is_weight)
    counted = flops.get_total_flops() // (2 * EXAMPLES)  # a multiplication and an addition are two operations
    return Counted(parameters, counted or by_layers, tuple(outputs.shape[1:]))


def _check_trained(module: nn.Module, again: nn.Module, what: str) -> None:
    lazy = [name for name, parameter in module.named_parameters() if nn.parameter.is_lazy(parameter)]
    if lazy:
        raise InputError(
            f"{what}: {lazy[0]!r} has no shape before it sees data; expected layers with sizes, no lazy ones"
        )
    shapes, others = ({name: tuple(p.shape) for name, p in m.named_parameters()} for m in (module, again))
    if shapes != others:
        counts = [sum(p.numel() for p in m.parameters()) for m in (module, again)]
        raise InputError(
            f"{what}: called twice, the function made networks of {counts[0]} and {counts[1]} parameters; expected the "
            "same tensors for equal arguments, nothing left to chance"
        )
    frozen = [name for name, parameter in module.named_parameters() if not parameter.requires_grad]
    if frozen or not shapes:
        has = f"the parameter {frozen[0]!r}, which is not trained" if frozen else "no parameters"
        raise InputError(f"{what}: the module has {has}; expected parameters to train, and others as buffers")


def _of_one_example(parameter: Parameter) -> Parameter:
    return Parameter(parameter.shape, max(1, parameter.positions // EXAMPLES))


def _watched(module: nn.Module) -> dict[nn.Module, int]:
    """Layer -> positions of its weight, filled while the module runs."""
    positions: dict[nn.Module, int] = {}
    for layer in module.modules():
        layer.register_forward_hook(lambda layer, _, output: _note(positions, layer, output))
    return positions


def _named(module: nn.Module, positions: dict[nn.Module, int]) -> dict[str, Parameter]:
    layers = dict(module.named_modules())

    def parameter(name: str, shape: tuple[int, ...]) -> Parameter:
        layer = layers[name.rpartition(".")[0]]
        return Parameter(shape, positions.get(layer, 1) if len(shape) > 1 else 1)

    return {name: parameter(name, tuple(tensor.shape)) for name, tensor in module.named_parameters()}


def _note(positions: dict[nn.Module, int], layer: nn.Module, output: object) -> None:
    weight = None if isinstance(layer, nn.Embedding) else getattr(layer, "weight", None)  # a lookup multiplies nothing
    if isinstance(weight, Tensor) and isinstance(output, Tensor) and weight.dim() > 1:
        positions[layer] = positions.get(layer, 0) + output.numel() // len(weight)
