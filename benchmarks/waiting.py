"""A family whose cohorts take the same time on any machine: the forward pass sleeps."""

from __future__ import annotations

import time

from torch import Tensor, nn

from batchscope.architectures import Family
from batchscope.architectures.architecture import Architecture

# A run of one epoch of one batch makes three forward passes: one step and two evaluations.
SECONDS_PER_PASS = 1 / 3


class _Slow(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        if not x.is_meta:
            time.sleep(SECONDS_PER_PASS)
        return super().forward(x)


class Waiting(Family):
    """One layer of width units, then the outputs; every forward pass waits a third of a second."""

    def module(self, net: Architecture) -> nn.Module:
        """The network; its first layer is the slow one."""
        return nn.Sequential(nn.Flatten(), _Slow(net.d_in, net.width), nn.Linear(net.width, net.d_out))
