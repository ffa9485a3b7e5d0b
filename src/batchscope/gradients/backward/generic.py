"""The generic way: per-example gradients of any torch call, without a rule for it.

The call is differentiated again for every example as a batch of one: by `torch.func.vmap` over the examples at once,
and, where the call does not support it, in a loop. Exact, slower, and reported in the coverage as such.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from batchscope.gradients.rules.lazy_gradients import Dense
from batchscope.gradients.subject.failures import refuse_out_of_memory
from batchscope.gradients.tracing.calls import Function, Position, replace_at


def generic_uses(
    function: Function,
    grad: Tensor,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    parameters: Mapping[Position, Tensor],
    examples: Mapping[Position, Tensor],
) -> tuple[str, list[tuple[Tensor, Dense]]]:
    """("vmap" or "loop", pairs (parameter, per-example gradients)).

    grad: output gradient [N, ...]. parameters: what stands where in the call and is to be differentiated.
    examples: position -> operand [N, ...] that depends on examples.
    """
    values = {id(value): value for value in parameters.values()}  # one value may stand at several positions
    positions = list(examples)

    def pull_back(grad_one: Tensor, operands_one: list[Tensor]) -> tuple[Tensor, ...]:
        here = dict(zip(positions, operands_one, strict=True))

        def forward(*new: Tensor) -> Any:
            by_id = dict(zip(values, new, strict=True))
            there = {position: by_id[id(value)] for position, value in parameters.items()}
            new_args, new_kwargs = replace_at(args, kwargs, {**here, **there})
            return function(*new_args, **new_kwargs)

        gradients: tuple[Tensor, ...] = torch.func.vjp(forward, *values.values())[1](grad_one)
        return gradients

    name, gradients = _over_examples(pull_back, grad, list(examples.values()))
    return name, [(value, Dense(gradient)) for value, gradient in zip(values.values(), gradients, strict=True)]


def _over_examples(
    pull_back: Callable[[Tensor, list[Tensor]], tuple[Tensor, ...]], grad: Tensor, batched: list[Tensor]
) -> tuple[str, tuple[Tensor, ...]]:
    with torch.enable_grad():
        try:
            return "vmap", torch.func.vmap(pull_back)(grad, batched)
        except (RuntimeError, ValueError) as error:
            refuse_out_of_memory(error)
            rows = [pull_back(grad[i], [tensor[i] for tensor in batched]) for i in range(len(grad))]
            return "loop", tuple(torch.stack(column) for column in zip(*rows, strict=True))
