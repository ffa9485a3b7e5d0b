"""The random numbers that a module draws while it trains: dropout, for one.

Every step's are those of (seed, epoch, step), so that a member's numbers depend neither on its company nor on when a
run was interrupted.
"""

from __future__ import annotations

import contextlib

import torch

from batchscope.data.seeding import Stream, generator


class Randomness:
    """Entered around the forward pass of a training step. Modules that draw nothing are found out and left alone."""

    def __init__(self) -> None:
        self._draws: bool | None = None  # not known before the first step
        self._seeds = generator(0, Stream.MODULES)
        self._before: list[torch.Tensor] = []
        self._resources = contextlib.ExitStack()

    def begin_epoch(self, seed: int, epoch: int) -> None:
        """Begin the steps of an epoch."""
        self._seeds = generator(seed, Stream.MODULES, epoch)

    def __enter__(self) -> None:
        if self._draws is False:
            return
        self._resources.enter_context(torch.random.fork_rng(range(_devices())))  # the caller's own stay as they are
        torch.manual_seed(int(self._seeds.integers(2**63)))
        self._before = _states()

    def __exit__(self, *exception: object) -> None:
        if self._draws is None:
            self._draws = any(not torch.equal(a, b) for a, b in zip(self._before, _states(), strict=True))
        self._resources.close()


def _devices() -> int:
    """CUDA devices in use; none is woken for this."""
    return torch.cuda.device_count() if torch.cuda.is_initialized() else 0  # type: ignore[no-untyped-call]


def _states() -> list[torch.Tensor]:
    return [torch.get_rng_state(), *map(torch.cuda.get_rng_state, range(_devices()))]
