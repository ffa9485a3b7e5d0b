"""The generic way: per-example gradients of any torch call, without a rule for it.

The call is differentiated again for every example as a batch of one: by `torch.func.vmap` over the examples at once,
and, where the call does not support it, in a loop. Exact, slower, and reported in the coverage as such.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from batchscope.gradients.calls import Function, Position, substitute, tensors_in
from batchscope.gradients.uses import Dense


def generic_uses(
    function: Function,
    grad: Tensor,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    operands: Mapping[int, Tensor],
    examples: frozenset[Position],
) -> tuple[str, list[tuple[Tensor, Dense]]]:
    """("vmap" or "loop", pairs (operand, per-example gradients)).

    grad: output gradient [N, ...]. args, kwargs: those at positions `examples` split [N, ...], the others whole.
    operands: id -> tensor among the arguments whose per-example gradients are wanted.
    """
    values = list(operands.values())
    batched = [tensor for position, tensor in tensors_in(args, kwargs) if position in examples]

    def pull_back(grad_one: Tensor, batched_one: list[Tensor]) -> tuple[Tensor, ...]:
        entries = iter(batched_one)
        here = {p: next(entries) for p, _ in tensors_in(args, kwargs) if p in examples}

        def forward(*parameters: Tensor) -> Any:
            by_id = dict(zip(operands, parameters, strict=True))
            new_args, new_kwargs = substitute(args, kwargs, lambda p, t: here[p] if p in here else by_id.get(id(t), t))
            return function(*new_args, **new_kwargs)

        gradients: tuple[Tensor, ...] = torch.func.vjp(forward, *values)[1](grad_one)
        return gradients

    name, gradients = _over_examples(pull_back, grad, batched)
    return name, [(value, Dense(gradient)) for value, gradient in zip(values, gradients, strict=True)]


def _over_examples(
    pull_back: Callable[[Tensor, list[Tensor]], tuple[Tensor, ...]], grad: Tensor, batched: list[Tensor]
) -> tuple[str, tuple[Tensor, ...]]:
    with torch.enable_grad():
        try:
            return "vmap", torch.func.vmap(pull_back)(grad, batched)
        except (RuntimeError, ValueError, NotImplementedError):
            rows = [pull_back(grad[i], [tensor[i] for tensor in batched]) for i in range(len(grad))]
            return "loop", tuple(torch.stack(column) for column in zip(*rows, strict=True))
