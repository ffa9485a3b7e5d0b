"""`gpt`: decoder-only transformers as in GPT-2 (Radford et al. 2019), to ask the paper's question of them.

Pre-LayerNorm blocks of causal self-attention and a GELU layer of four times the width, learned positions, the output
weights tied to the embedding. Attention has round(K / 16) heads, at least one, of about 16 units each, so that every
width K is possible and parameters grow smoothly with it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from batchscope.architectures.architecture import FAMILIES, Family
from batchscope.architectures.budget import nearest_width
from batchscope.architectures.parameter import Parameter
from batchscope.errors import InputError

if TYPE_CHECKING:
    from torch import nn

    from batchscope.architectures.architecture import Architecture

HEAD_UNITS = 16  # about so many, of 11 to 24 but in narrow nets
EXPANSION = 4  # hidden units of a block's layer, in widths


class GPTFamily(Family):
    """Depth: blocks L. Width: units K of the residual stream. The budget counts every parameter.

    V K + T K + L (12 K² + 13 K) + 2 K for a vocabulary of V, sequences of T and heads that divide the width.
    """

    standard = (4, 64)
    depth_means, width_means = "blocks", "units of the residual stream"
    activations = ("gelu",)
    takes_tokens = True
    draws_weights = True

    def check(self, net: Architecture) -> None:
        if len(net.input_shape) != 1:
            raise InputError(f"gpt got examples of shape {tuple(net.input_shape)}; expected sequences (T,) of tokens")

    def parameters(self, net: Architecture) -> dict[str, Parameter]:
        length, width = net.input_shape[0], net.width
        named = {"tokens.weight": Parameter((net.d_out, width)), "positions.weight": Parameter((length, width))}
        for block in range(net.depth):
            named |= self._block(f"blocks.{block}", width, length)
        return named | _norm("norm", width)

    def multiply_adds(self, net: Architecture) -> int:
        """Of the linear layers, of the output (the embedding's lookup multiplies nothing), and of attention: twice T²
        products of its heads' units."""
        length, width, attention = net.input_shape[0], net.width, math.prod(heads(net.width))
        layers = 4 * width * attention + 2 * EXPANSION * width**2
        return length * (net.depth * layers + net.d_out * width) + net.depth * 2 * length**2 * attention

    def output_shape(self, net: Architecture) -> tuple[int, ...]:
        return (*net.input_shape, net.d_out)

    def solve_width(self, net: Architecture, budget: int) -> int:
        fixed = net.input_shape[0] + net.d_out + 2
        return nearest_width(budget, lambda width: fixed * width + net.depth * self._block_size(width))

    def label(self, net: Architecture) -> str:
        return f"gpt {net.depth} blocks of {net.width}"

    def module(self, net: Architecture) -> nn.Module:
        from batchscope.architectures.transformer import GPT

        sizes = net.width, EXPANSION * net.width, heads(net.width)
        return GPT(net.depth, *sizes, net.input_shape[0], net.d_out)

    def _block(self, name: str, width: int, length: int) -> dict[str, Parameter]:
        attention, hidden = math.prod(heads(width)), EXPANSION * width
        return {
            **_norm(f"{name}.norm1", width),
            **_linear(f"{name}.attention.qkv", width, 3 * attention, length),
            **_linear(f"{name}.attention.out", attention, width, length),
            **_norm(f"{name}.norm2", width),
            **_linear(f"{name}.mlp.0", width, hidden, length),
            **_linear(f"{name}.mlp.2", hidden, width, length),
        }

    def _block_size(self, width: int) -> int:
        return sum(parameter.size for parameter in self._block("", width, 1).values())


FAMILIES["gpt"] = GPTFamily()


def heads(width: int) -> tuple[int, int]:
    """(heads, units of each) of attention in a stream of this width.

    >>> [heads(width) for width in (5, 23, 24, 41, 64)]
    [(1, 5), (1, 23), (2, 12), (3, 14), (4, 16)]
    """
    count = max(1, (width + HEAD_UNITS // 2) // HEAD_UNITS)
    return count, math.ceil(width / count)


def _norm(name: str, width: int) -> dict[str, Parameter]:
    return {f"{name}.weight": Parameter((width,)), f"{name}.bias": Parameter((width,))}


def _linear(name: str, fan_in: int, fan_out: int, positions: int) -> dict[str, Parameter]:
    return {f"{name}.weight": Parameter((fan_out, fan_in), positions), f"{name}.bias": Parameter((fan_out,))}
