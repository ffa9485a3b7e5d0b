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
from batchscope.training.stacked.product_order import examples_first

# Examples of one member that are gathered and multiplied at once, and from how many bytes of all that is faster.
BLOCK, BLOCKED_FROM = 256, 7 * 2**20


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
        # For weight gradients h is read with the examples first: turned at every step, or as a view if that is faster.
        turned = examples_first(self.h.device)
        self._h_turned = self.h.new_empty(stack.depth, members, batch_size, width) if turned else None
        self.outputs = stack.first.new_empty(members, stack.last.shape[1], batch_size)
        # Views made once: slicing the buffers at every step would cost more than using them.
        self.h_layers, self.delta_layers = self.h.unbind(), self.delta.unbind()
        self._inputs = stack.first.new_empty(0)

    def h_examples_first(self) -> Tensor:
        """h as [L, E, B, K]."""
        view = self.h.transpose(2, 3)
        return view if self._h_turned is None else self._h_turned.copy_(view)

    def inputs_like(self, inputs: Tensor, indices: Tensor) -> Tensor:
        """A buffer [B, d] or [E, B, d] for rows of inputs [n, d]; it is kept: a fresh one costs page faults."""
        shape = (*indices.shape, inputs.shape[1])
        if self._inputs.shape != shape:
            self._inputs = inputs.new_empty(shape)
        return self._inputs


def evaluation_buffers(stack: Stack, batch_size: int) -> tuple[Sequence[Tensor], Tensor]:
    """(layers, outputs) for `forward` alone: two layers in turn instead of L, so that they stay in the cache."""
    members, width, _ = stack.first.shape
    even, odd = stack.first.new_empty(2, members, width, batch_size).unbind()
    layers = [odd if layer % 2 else even for layer in range(stack.depth)]
    return layers, stack.first.new_empty(members, stack.last.shape[1], batch_size)


def forward(stack: Stack, inputs: Tensor, h: Sequence[Tensor], outputs: Tensor) -> Tensor:
    """Fill the layers h and return `outputs` [E, q, B], filled. inputs: [B, d], shared by all members, or [E, B, d]."""
    _first_layer(stack, inputs, h[0])
    return _after_first_layer(stack, h, outputs)


def gathered_forward(stack: Stack, inputs: Tensor, indices: Tensor, work: Workspace) -> Tensor:
    """`forward` of the examples at indices [B] or [E, B] in work; return their rows of inputs [n, d], gathered."""
    gathered = work.inputs_like(inputs, indices)
    few = gathered.numel() * gathered.element_size() < BLOCKED_FROM
    if few or indices.dim() == 1 or examples_first(inputs.device):
        torch.index_select(inputs, 0, indices.reshape(-1), out=gathered.flatten(0, -2))
        forward(stack, gathered, work.h_layers, work.outputs)
    else:
        _first_layer_by_blocks(stack, inputs, indices, gathered, work.h_layers[0])
        _after_first_layer(stack, work.h_layers, work.outputs)
    return gathered


def _after_first_layer(stack: Stack, h: Sequence[Tensor], outputs: Tensor) -> Tensor:
    """h[0] holds the first layer's sums."""
    apply_ = ACTIVATIONS[stack.activation].apply_
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
    h = work.h_examples_first()
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
    if inputs.dim() == 3 and not examples_first(inputs.device):
        _affine(stack.first, inputs.transpose(1, 2), bias, out)
    elif inputs.dim() == 3:
        product = torch.bmm(inputs, stack.first.transpose(1, 2).contiguous()).transpose(1, 2)
        out.copy_(product) if bias is None else torch.add(product, bias, out=out)
    elif bias is None:
        torch.mm(stack.first.flatten(0, 1), inputs.t(), out=out.flatten(0, 1))
    else:
        torch.addmm(bias.flatten(0, 1), stack.first.flatten(0, 1), inputs.t(), out=out.flatten(0, 1))


def _first_layer_by_blocks(stack: Stack, inputs: Tensor, indices: Tensor, gathered: Tensor, out: Tensor) -> None:
    """Each member's rows are multiplied while they are in the cache; those of a whole batch are up to 60 MB."""
    for weight, rows, to, sums in zip(stack.first, indices, gathered, out, strict=True):
        blocks = zip(rows.split(BLOCK), to.split(BLOCK), sums.split(BLOCK, dim=1), strict=True)
        for some_rows, some_to, some_sums in blocks:
            torch.index_select(inputs, 0, some_rows, out=some_to)
            torch.mm(weight, some_to.t(), out=some_sums)
    if stack.bias_layers[0] is not None:
        out.add_(stack.bias_layers[0])


def _accumulate_first(rule: UpdateRule, inputs: Tensor, delta: Tensor) -> None:
    if inputs.dim() == 3:
        rule.sink.baddbmm_(delta, inputs, beta=rule.beta, alpha=rule.alpha)
    else:
        rule.sink.flatten(0, 1).addmm_(delta.flatten(0, 1), inputs, beta=rule.beta, alpha=rule.alpha)


def _product(rule: UpdateRule, delta: Tensor, h: Tensor) -> None:
    rule.sink.flatten(0, -3).baddbmm_(delta, h, beta=rule.beta, alpha=rule.alpha)
