"""Sums over the ranks of a DistributedDataParallel model. Called on every rank at the end of every observed step."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.distributed as dist
from torch import Tensor

from batchscope.gradients.observing.passes import StepSums


def all_are(usable: bool, device: torch.device) -> bool:
    """Whether all ranks have a step to add; one that has not must not leave the others waiting."""
    least = torch.tensor(float(usable), device=device)
    dist.all_reduce(least, dist.ReduceOp.MIN)
    return bool(least)


def summed(sums: StepSums, norms: Tensor, parameters: Mapping[str, Tensor]) -> tuple[int, Tensor, Tensor]:
    """(examples, S1 of every parameter, Q of every parameter) over all ranks."""
    device = norms.device
    numbers = torch.cat([torch.tensor([float(sums.num_examples)], dtype=torch.float64, device=device), norms])
    dist.all_reduce(numbers)
    return int(numbers[0]), numbers[1:], _squares(sums, parameters)


def summed_groups(sums: StepSums, parameters: Mapping[str, Tensor]) -> tuple[list[int], float, Tensor]:
    """(sizes, sum_k b_k ‖ḡ_k‖², Q of every parameter) of the groups of all ranks."""
    device = next(iter(parameters.values())).device
    world, rank = dist.get_world_size(), dist.get_rank()
    most = torch.tensor(len(sums.sizes), device=device)
    dist.all_reduce(most, dist.ReduceOp.MAX)
    table = torch.zeros(world, int(most) + 1, dtype=torch.float64, device=device)
    table[rank, : len(sums.sizes)] = torch.tensor(sums.sizes, dtype=torch.float64, device=device)
    table[rank, -1] = sums.group_sq_norms
    dist.all_reduce(table)
    sizes = [int(size) for size in table[:, :-1].flatten().tolist() if size]
    return sizes, float(table[:, -1].sum()), _squares(sums, parameters)


def _squares(sums: StepSums, parameters: Mapping[str, Tensor]) -> Tensor:
    """Q of every parameter, of the sum over ranks: one exchange of a whole gradient."""
    squares = []
    for name, parameter in parameters.items():
        gradient = sums.gradients.get(name)
        total = torch.zeros_like(parameter, dtype=torch.float32) if gradient is None else gradient
        total = total.to(torch.float64)
        dist.all_reduce(total)
        squares.append(total.abs().square().sum())
    return torch.stack(squares)
