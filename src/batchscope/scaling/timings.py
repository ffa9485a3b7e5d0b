"""`Timings`: what was timed of a network on this machine, in seconds. The fit of a time model reads nothing else."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Timings:
    """Seconds, each the least over many calls on a process, and of these the largest.

    processes: P, at once on `device` with `backend`. local_batches: [5] examples, ascending; computing: [5] of a step
    on every process without an exchange. sizes: [2] bytes; exchanging: [2] of an all-reduce of that many. steps: [2] of
    a whole step with its exchange at the third and at the fourth local batch. The last three are empty for one process.
    """

    processes: int
    device: str
    backend: str
    local_batches: tuple[int, ...]
    computing: tuple[float, ...]
    sizes: tuple[int, ...] = ()
    exchanging: tuple[float, ...] = ()
    steps: tuple[float, ...] = ()

    @property
    def where(self) -> str:
        """``one process``, ``2 processes``."""
        return "one process" if self.processes == 1 else f"{self.processes} processes"

    @property
    def origin(self) -> str:
        """``timed on cpu, 2 processes, gloo``."""
        return f"timed on {self.device}, {self.where}" + ("" if self.processes == 1 else f", {self.backend}")
