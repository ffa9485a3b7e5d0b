"""BatchNorm with statistics over the whole batch or over equal parts of it, on one process or on many alike."""

from __future__ import annotations

import torch
import torch.distributed.nn.functional as distributed
from torch import Tensor, nn

from batchscope.training.parallel import ONE_RANK, Ranks


def with_shares(module: nn.Module, shares: int, ranks: Ranks) -> nn.Module:
    """Replace every BatchNorm2d so that its statistics are those of `shares` equal parts of the global batch.

    shares = 1: of the whole batch, wherever its examples are. shares = number of ranks: of each rank's own part. On
    one process any number of shares, each a contiguous part ("ghost batch normalisation", Hoffer et al. 2017).
    """
    if shares == 1 and ranks.size == 1:
        return module
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, SharedBatchNorm2d(child, shares, ranks))
        else:
            with_shares(child, shares, ranks)
    return module


class SharedBatchNorm2d(nn.BatchNorm2d):
    """In training normalises each part with its own mean and variance; in evaluation an ordinary BatchNorm2d.

    The running statistics are the mean over parts of what each part alone would have kept.
    """

    def __init__(self, like: nn.BatchNorm2d, shares: int, ranks: Ranks) -> None:
        super().__init__(like.num_features, like.eps, like.momentum)
        self.weight, self.bias = like.weight, like.bias
        self.register_buffer("running_mean", like.running_mean)
        self.register_buffer("running_var", like.running_var)
        self.register_buffer("num_batches_tracked", like.num_batches_tracked)
        self._parts = shares if ranks.size == 1 else 1
        self._ranks = ranks if shares == 1 else ONE_RANK

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, h, w], each share of the batch normalised by its own statistics over all ranks."""
        if not self.training:
            return super().forward(x)
        if not len(x) and self._ranks.size == 1:  # a rank without a share of the epoch's last batch
            return x * self.weight[:, None, None] + self.bias[:, None, None]
        parts = [self._normalise(part) for part in x.tensor_split(self._parts) if len(part) or self._ranks.size > 1]
        means, variances = zip(*(statistics for _, statistics in parts), strict=True)
        self._remember(torch.stack(means).mean(0), torch.stack(variances).mean(0))
        return torch.cat([part for part, _ in parts])

    def _normalise(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The part normalised, with its mean and unbiased variance."""
        count = self._ranks.add(x.new_tensor(x.numel() // x.shape[1]))
        mean = self._total(x) / count
        centred = x - mean[:, None, None]
        variance = self._total(centred.square()) / count
        scale = self.weight * (variance + self.eps).rsqrt()
        normalised = centred * scale[:, None, None] + self.bias[:, None, None]
        return normalised, (mean.detach(), variance.detach() * count / (count - 1))

    def _total(self, x: Tensor) -> Tensor:
        """Per channel, over the examples and pixels of all ranks that share statistics."""
        total = x.sum((0, 2, 3))
        if self._ranks.size == 1:
            return total
        return distributed.all_reduce(total)  # type: ignore[no-any-return, no-untyped-call]

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        assert self.momentum is not None
        assert self.running_mean is not None
        assert self.running_var is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)


def average_statistics(module: nn.Module, ranks: Ranks) -> None:
    """Make the running statistics of all ranks their mean: that of the parts, as on one process."""
    for child in module.modules():
        if isinstance(child, SharedBatchNorm2d) and child.running_mean is not None and child.running_var is not None:
            for statistic in (child.running_mean, child.running_var):
                ranks.add(statistic).div_(ranks.size)
