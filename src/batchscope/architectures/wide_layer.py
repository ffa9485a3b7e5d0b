"""Fully-connected nets with one hidden layer wider than the others: does the width of a single layer buy batch?

    mlp_wide_first    d_in-2K-K-...-K-d_out
    mlp_wide_middle   d_in-K-...-K-4K-K-...-K-d_out

The budget counts weights, as that of `fully_connected`; a wide layer is paid for by all the others being narrower. The
first layer meets the inputs, which are many, so twice the width costs there what four times does in the middle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from batchscope.architectures.architecture import ACTIVATIONS, FAMILIES, Family
from batchscope.architectures.fully_connected import linear_parameters

if TYPE_CHECKING:
    from torch import nn

    from batchscope.architectures.architecture import Architecture
    from batchscope.architectures.parameter import Parameter


class WideLayerFamily(Family):
    """Depth: hidden layers of K units, one of which has `times` K. place: of that layer, a fraction of the depth."""

    standard = (10, 14)
    budget_counts = "weights"
    width_means = "units K of the other layers"
    activations: ClassVar[tuple[str, ...]] = ACTIVATIONS

    def __init__(self, times: int, place: float) -> None:
        self.times, self.place = times, place

    def sizes(self, net: Architecture) -> tuple[int, ...]:
        """Widths between the weights, from the inputs to the outputs."""
        hidden = [net.width] * net.depth
        hidden[int(self.place * net.depth)] *= self.times
        return (net.d_in, *hidden, net.d_out)

    def parameters(self, net: Architecture) -> dict[str, Parameter]:
        """Those of an nn.Sequential of Linear, activation, ..., Linear."""
        return linear_parameters(self.sizes(net), net.bias)

    def module(self, net: Architecture) -> nn.Module:
        """From [N, ...] to [N, d_out]."""
        from batchscope.architectures.modules import FullyConnected, linear_layers

        return FullyConnected(*linear_layers(self.sizes(net), net.activation, net.bias))

    def label(self, net: Architecture) -> str:
        """``64-28-14-14-10 relu``: every width, since they differ."""
        return f"{'-'.join(map(str, self.sizes(net)))} {net.activation}"


FAMILIES["mlp_wide_first"] = WideLayerFamily(times=2, place=0.0)
FAMILIES["mlp_wide_middle"] = WideLayerFamily(times=4, place=0.5)
