"""Parameters that are copied once per example (class tokens, learned queries) and parameters joined to examples."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from batchscope.gradients.rules.elementwise import reduce_to
from batchscope.gradients.rules.lazy_gradients import Dense
from batchscope.gradients.rules.rule import Uses, rule


@rule(Tensor.expand, Tensor.expand_as, torch.broadcast_to, Tensor.broadcast_to, examples=None, reads_inputs=False)
def expand(grad: Tensor, input: Tensor, *sizes: Any, **named: Any) -> Uses:
    """Copies of a parameter, one or more per example: the gradients of one example's copies are added up."""
    yield input, Dense(reduce_to(grad, input))


@rule(Tensor.repeat, examples=None, reads_inputs=False)
def repeat(grad: Tensor, input: Tensor, *repeats: Any) -> Uses:
    """As expand, with whole parameters tiled along each axis: the tiles of one example are added up."""
    missing = grad.ndim - 1 - input.ndim
    sizes = (1,) * missing + tuple(input.shape)
    tiled = [part for axis, size in enumerate(sizes) for part in (grad.shape[1 + axis] // size, size)]
    summed = grad.reshape(grad.shape[0], *tiled).sum(list(range(1, 2 * len(sizes), 2)))
    yield input, Dense(summed.reshape(grad.shape[0], *input.shape))
