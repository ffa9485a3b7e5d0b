"""One model on several processes: each takes its share of every batch, and gradients are averaged (DDP, nccl or gloo).

Two ranks train to the same numbers as one at the same global batch, up to rounding, with either meaning of BatchNorm:
statistics over the whole batch, or over each of `batchnorm_shares` equal parts of it.
"""

from __future__ import annotations

import inspect
import os
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from batchscope.errors import InputError
from batchscope.gradients.estimands import NoiseEstimate, two_batch_estimate

TIMEOUT = timedelta(minutes=30)


@dataclass(frozen=True)
class Ranks:
    """The processes that train one model together; `rank` is this one's number, from 0."""

    rank: int = 0
    size: int = 1

    def share(self, batch: Tensor, dim: int = 0) -> Tensor:
        """This rank's contiguous part of a batch; parts differ by one example at most."""
        return batch.tensor_split(self.size, dim)[self.rank]

    def add(self, numbers: Tensor) -> Tensor:
        """The sum over ranks, in place."""
        if self.size > 1:
            dist.all_reduce(numbers)
        return numbers


ONE_RANK = Ranks()


def launched() -> Ranks | None:
    """The ranks that torchrun started, or None in an ordinary process."""
    if not dist.is_torchelastic_launched():
        return None
    return Ranks(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))


def join(device: str) -> str:
    """Start talking to the other ranks; return this one's device."""
    local = int(os.environ["LOCAL_RANK"])
    if device != "cuda":
        dist.init_process_group("gloo", timeout=TIMEOUT)
        return device
    if local >= torch.cuda.device_count():
        raise InputError(
            f"rank {local} of this machine has no CUDA device of its own ({torch.cuda.device_count()} found); start "
            "at most one process per device"
        )
    torch.cuda.set_device(local)
    dist.init_process_group("nccl", timeout=TIMEOUT)
    return f"cuda:{local}"


def data_parallel(module: nn.Module, device: torch.device, noise: NoiseGauge | None) -> nn.Module:
    """Wrap a module so that its backward pass averages gradients over ranks, measuring them on the way."""
    named = inspect.signature(DistributedDataParallel).parameters
    buffers = "forward_sync_buffers" if "forward_sync_buffers" in named else "broadcast_buffers"  # before torch 2.13
    options: dict[str, Any] = {buffers: False, "device_ids": [device] if device.type == "cuda" else None}
    wrapped = DistributedDataParallel(module, **options)
    if noise is not None:
        # A lambda: PyTorch compares the hook's annotations with types, and ours are strings.
        wrapped.register_comm_hook(noise, lambda noise, bucket: _average_and_measure(noise, bucket))
    return wrapped


class NoiseGauge:
    """Squared norms of the gradient before and after averaging: a small and a big batch at every step, for free.

    McCandlish et al. 2018, appendix A.1: E‖ḡ_b‖² = ‖G‖² + tr Σ / b at both sizes gives ‖G‖² and tr Σ without bias.
    Batches that do not split evenly are left out.
    """

    def __init__(self, ranks: Ranks, device: torch.device) -> None:
        self._ranks = ranks
        self._norms = torch.zeros(2, dtype=torch.float64, device=device)  # of this rank's gradient, of the average
        self._steps: list[tuple[int, Tensor]] = []

    def add(self, local: Tensor, average: Tensor) -> None:
        """Take the squared norms of one bucket of the gradient."""
        self._norms += torch.stack((local, average))

    def end_step(self, batch_size: int, scale: float) -> None:
        """Close a step whose gradients were multiplied by `scale`."""
        if batch_size % self._ranks.size == 0:
            self._steps.append((batch_size, self._norms / scale**2))
        self._norms = torch.zeros_like(self._norms)

    def noise_scale(self) -> float | None:
        """tr Σ/‖G‖² over the steps since the last call, numerators and denominators summed before dividing."""
        if not self._steps:
            return None
        norms = self._ranks.add(torch.stack([norm for _, norm in self._steps])) / self._ranks.size
        sizes, self._steps = [size for size, _ in self._steps], []
        ranks = self._ranks.size
        estimates = [two_batch_estimate(b / ranks, b, *pair) for b, pair in zip(sizes, norms.tolist(), strict=True)]
        return NoiseEstimate.pool(estimates).simple_noise_scale


def _average_and_measure(noise: NoiseGauge, bucket: Any) -> torch.futures.Future[Tensor]:
    local = _sq_norm(bucket.buffer())
    work: Any = dist.all_reduce(bucket.buffer().div_(dist.get_world_size()), async_op=True)

    def measure(done: Any) -> Tensor:
        average: Tensor = done.value()[0]
        noise.add(local, _sq_norm(average))
        return average

    future: torch.futures.Future[Tensor] = work.get_future().then(measure)
    return future


def _sq_norm(bucket: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(bucket, dtype=torch.float64)
    return norm.square()
