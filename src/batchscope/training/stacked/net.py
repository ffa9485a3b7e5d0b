"""E fully-connected nets of one shape side by side: forward, hand-written backward, evaluation. No autograd.

Shapes (E members, B examples, d inputs, K hidden units, L hidden layers, q outputs): activations are feature-major,
[E, K, B], so that every product reads its operands in place. When all members see the same batch, the first layer of
all of them is one matrix product [E K, d] x [d, B]; hidden layers are batched products over members, and the weight
gradients of all square layers of all members are a single batched product after the backward sweep.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from batchscope.training.optimizers.rule import UpdateRule
from batchscope.training.stacked.activations import ACTIVATIONS


@dataclass(frozen=True)
class Stack:
    """The parameters of E nets. Biases are None for nets without them.

    first: [E, K, d]. hidden: [L-1, E, K, K]. last: [E, q, K]. bias: [L, E, K, 1]. last_bias: [E, q, 1].
    """

    activation: str
    first: Tensor
    hidden: Tensor
    last: Tensor
    bias: Tensor | None
    last_bias: Tensor | None

    @property
    def num_members(self) -> int:
        """E."""
        return self.first.shape[0]

    @property
    def depth(self) -> int:
        """L hidden layers."""
        return self.hidden.shape[0] + 1

    @cached_property
    def hidden_layers(self) -> tuple[Tensor, ...]:
        """[E, K, K] each, views into `hidden`."""
        return self.hidden.unbind()

    @cached_property
    def hidden_transposed(self) -> tuple[Tensor, ...]:
        """The same, transposed."""
        return self.hidden.transpose(2, 3).unbind()

    @cached_property
    def bias_layers(self) -> tuple[Tensor | None, ...]:
        """One entry a hidden layer, views into `bias`; None without biases."""
        return (None,) * self.depth if self.bias is None else self.bias.unbind()

    def tensors(self) -> Iterator[tuple[str, Tensor, int]]:
        """(field, tensor, member dimension) of every parameter tensor there is."""
        for name, dim in (("first", 0), ("hidden", 1), ("last", 0), ("bias", 1), ("last_bias", 0)):
            tensor = getattr(self, name)
            if tensor is not None:
                yield name, tensor, dim

    def select(self, members: Tensor) -> Stack:
        """The stack of some members only."""
        kept: dict[str, Any] = {name: tensor.index_select(dim, members) for name, tensor, dim in self.tensors()}
        return replace(self, **kept)

    def member(self, index: int) -> dict[str, Tensor]:
        """The state dict of one member, with the names of the module that `architectures.build` returns."""
        weights = [self.first[index], *self.hidden[:, index], self.last[index]]
        state = {f"{2 * layer}.weight": weight for layer, weight in enumerate(weights)}
        if self.bias is not None and self.last_bias is not None:
            biases = [*self.bias[:, index, :, 0], self.last_bias[index, :, 0]]
            state |= {f"{2 * layer}.bias": bias for layer, bias in enumerate(biases)}
        return state


class Workspace:
    """Buffers for one batch size. h and delta: [L, E, K, B], also as lists of their layers; outputs: [E, q, B]."""

    def __init__(self, stack: Stack, batch_size: int) -> None:
        members, width, _ = stack.first.shape
        self.h = stack.first.new_empty(stack.depth, members, width, batch_size)
        self.delta = torch.empty_like(self.h)
        self.h_examples_first = self.h.new_empty(stack.depth, members, batch_size, width)
        self.outputs = stack.first.new_empty(members, stack.last.shape[1], batch_size)
        # Views made once: slicing the buffers at every step would cost more than using them.
        self.h_layers, self.delta_layers = self.h.unbind(), self.delta.unbind()
        self._inputs = stack.first.new_empty(0)

    def gather(self, inputs: Tensor, indices: Tensor) -> Tensor:
        """Rows of inputs [n, d] for indices [B] or [E, B], in a buffer that is kept: a fresh one costs page faults."""
        shape = (indices.numel(), inputs.shape[1])
        if self._inputs.shape != shape:
            self._inputs = inputs.new_empty(shape)
        torch.index_select(inputs, 0, indices.reshape(-1), out=self._inputs)
        return self._inputs.view(*indices.shape, -1)


def evaluation_buffers(stack: Stack, batch_size: int) -> tuple[Sequence[Tensor], Tensor]:
    """(layers, outputs) for `forward` alone: two layers in turn instead of L, so that they stay in the cache."""
    members, width, _ = stack.first.shape
    even, odd = stack.first.new_empty(2, members, width, batch_size).unbind()
    layers = [odd if layer % 2 else even for layer in range(stack.depth)]
    return layers, stack.first.new_empty(members, stack.last.shape[1], batch_size)


def forward(stack: Stack, inputs: Tensor, h: Sequence[Tensor], outputs: Tensor) -> Tensor:
    """Fill the layers h and return `outputs` [E, q, B], filled. inputs: [B, d], shared by all members, or [E, B, d]."""
    apply_ = ACTIVATIONS[stack.activation].apply_
    _first_layer(stack, inputs, h[0])
    apply_(h[0])
    for layer, weight in enumerate(stack.hidden_layers, start=1):
        _affine(weight, h[layer - 1], stack.bias_layers[layer], h[layer])
        apply_(h[layer])
    _affine(stack.last, h[-1], stack.last_bias, outputs)
    return outputs


def backward(stack: Stack, output_gradient: Tensor, work: Workspace) -> None:
    """Fill work.delta with the gradient at every hidden layer's pre-activations, given the outputs' [E, q, B]."""
    backward_ = ACTIVATIONS[stack.activation].backward_
    h, delta = work.h_layers, work.delta_layers
    torch.bmm(stack.last.transpose(1, 2), output_gradient, out=delta[-1])
    backward_(delta[-1], h[-1])
    for layer in range(stack.depth - 1, 0, -1):
        torch.bmm(stack.hidden_transposed[layer - 1], delta[layer], out=delta[layer - 1])
        backward_(delta[layer - 1], h[layer - 1])


def accumulate(rules: Mapping[str, UpdateRule], inputs: Tensor, output_gradient: Tensor, work: Workspace) -> None:
    """Add every weight gradient, as one product each, into the sinks of the update rules."""
    _accumulate_first(rules["first"], inputs, work.delta_layers[0])
    # Small products over many examples: with h turned once, [K, B] x [B, K] runs four times as fast as with a view.
    h = work.h_examples_first.copy_(work.h.transpose(2, 3))
    if len(h) > 1:
        _product(rules["hidden"], work.delta[1:].flatten(0, 1), h[:-1].flatten(0, 1))
    _product(rules["last"], output_gradient, h[-1])
    if "bias" in rules:
        rules["bias"].take(work.delta.sum(-1, keepdim=True))
        rules["last_bias"].take(output_gradient.sum(-1, keepdim=True))


def _affine(weight: Tensor, h: Tensor, bias: Tensor | None, out: Tensor) -> None:
    if bias is None:
        torch.bmm(weight, h, out=out)
    else:
        torch.baddbmm(bias, weight, h, out=out)


def _first_layer(stack: Stack, inputs: Tensor, out: Tensor) -> None:
    bias = stack.bias_layers[0]
    if inputs.dim() == 3:
        # Skinny products: examples first is the fast order, and turning the small result costs less than it saves.
        product = torch.bmm(inputs, stack.first.transpose(1, 2).contiguous()).transpose(1, 2)
        out.copy_(product) if bias is None else torch.add(product, bias, out=out)
    elif bias is None:
        torch.mm(stack.first.flatten(0, 1), inputs.t(), out=out.flatten(0, 1))
    else:
        torch.addmm(bias.flatten(0, 1), stack.first.flatten(0, 1), inputs.t(), out=out.flatten(0, 1))


def _accumulate_first(rule: UpdateRule, inputs: Tensor, delta: Tensor) -> None:
    if inputs.dim() == 3:
        rule.sink.baddbmm_(delta, inputs, beta=rule.beta, alpha=rule.alpha)
    else:
        rule.sink.flatten(0, 1).addmm_(delta.flatten(0, 1), inputs, beta=rule.beta, alpha=rule.alpha)


def _product(rule: UpdateRule, delta: Tensor, h: Tensor) -> None:
    rule.sink.flatten(0, -3).baddbmm_(delta, h, beta=rule.beta, alpha=rule.alpha)
