"""Two variants of fully-connected nets, to ask what makes a deep net bear larger batches: skip connections, LayerNorm.

    resmlp           h_1 = σ(W_1 x + b_1), h_l = h_{l-1} + σ(W_l h_{l-1} + b_l): shortcuts of He et al. 2016
    mlp_layer_norm   h_l = σ(LayerNorm(W_l h_{l-1} + b_l)): Ba, Kiros & Hinton 2016, before the activation

The budget counts weights, as that of `fully_connected`: equal depth and budget give equal widths in all three.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchscope.architectures.architecture import FAMILIES
from batchscope.architectures.fully_connected import FullyConnectedFamily
from batchscope.architectures.parameter import Parameter

if TYPE_CHECKING:
    from torch import nn

    from batchscope.architectures.architecture import Architecture


class MLPVariant(FullyConnectedFamily):
    """Hidden layers as modules named ``0``, ``1``, ..., each with a Linear ``0``; then the outputs' Linear."""

    stacked = False
    name: str
    has_norm: bool

    def label(self, net: Architecture) -> str:
        return f"{self.name} {super().label(net)}"

    def parameters(self, net: Architecture) -> dict[str, Parameter]:
        named: dict[str, Parameter] = {}
        for layer, fan_in in enumerate(net.layer_sizes[:-2]):
            named |= _tensors(f"{layer}.0", (net.width, fan_in), net.bias)
            if self.has_norm:
                named |= {f"{layer}.1.{name}": Parameter((net.width,)) for name in ("weight", "bias")}
        return named | _tensors(f"{net.depth}", (net.d_out, net.width), net.bias)

    def module(self, net: Architecture) -> nn.Module:
        from torch import nn

        from batchscope.architectures.modules import FullyConnected

        hidden = [self.hidden(net, fan_in, first=not layer) for layer, fan_in in enumerate(net.layer_sizes[:-2])]
        return FullyConnected(*hidden, nn.Linear(net.width, net.d_out, bias=net.bias))

    def hidden(self, net: Architecture, fan_in: int, first: bool) -> nn.Module:
        """One hidden layer, the first of which changes the width."""
        raise NotImplementedError


class ResMLPFamily(MLPVariant):
    """Depth: hidden layers, of which all but the first add their result to what they were given."""

    name, has_norm = "resmlp", False

    def hidden(self, net: Architecture, fan_in: int, first: bool) -> nn.Module:
        from torch import nn

        from batchscope.architectures.modules import Skip, activation

        layers = nn.Linear(fan_in, net.width, bias=net.bias), activation(net.activation)
        return nn.Sequential(*layers) if first else Skip(*layers)


class LayerNormFamily(MLPVariant):
    """Depth: hidden layers, each with a LayerNorm, whose 2 K gains and shifts the budget does not count."""

    name, has_norm = "layer_norm", True

    def hidden(self, net: Architecture, fan_in: int, first: bool) -> nn.Module:
        from torch import nn

        from batchscope.architectures.modules import activation

        linear = nn.Linear(fan_in, net.width, bias=net.bias)
        return nn.Sequential(linear, nn.LayerNorm(net.width), activation(net.activation))


FAMILIES["resmlp"] = ResMLPFamily()
FAMILIES["mlp_layer_norm"] = LayerNormFamily()


def _tensors(name: str, shape: tuple[int, int], bias: bool) -> dict[str, Parameter]:
    named = {f"{name}.weight": Parameter(shape)}
    return named | ({f"{name}.bias": Parameter(shape[:1])} if bias else {})
