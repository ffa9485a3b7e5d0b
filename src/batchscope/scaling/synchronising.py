"""Seconds that P workers spend exchanging a gradient of `size` bytes, by pattern, and what computing hides of them.

W is the bandwidth of one worker's link in bytes per second, α the latency of one message in seconds. Every pattern is
linear in α and in size / W, so two numbers describe it; a single worker exchanges nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from batchscope.analysis.sweeps import Array
from batchscope.errors import choose

MOST_OVERLAP = 10.0  # gamma: close enough to max(computing, exchanging) (Qiao et al. 2021 limit it to 1..10 as well)

Counts = tuple[Array, Array]  # [k] messages one after another; [k] how often all bytes of the gradient cross a link


def parameter_server(workers: Array) -> Counts:
    """2 P size / W: one server receives P gradients and sends P copies of the parameters over its own link.

    The arrangement of Chen et al. 2018, section 1. Messages of different workers follow each other without gaps, so
    their latency is not counted.
    """
    return np.zeros_like(workers), 2 * workers


def ring(workers: Array) -> Counts:
    """2 (P-1) α + 2 ((P-1)/P) size / W: P-1 rounds of reduce-scatter, then P-1 of all-gather, each of size/P bytes.

    Patarasuk & Yuan 2009, "Bandwidth optimal all-reduce algorithms for clusters of workstations", J. Parallel and
    Distributed Computing 69: no algorithm sends fewer bytes per worker than 2 ((P-1)/P) size.
    """
    return 2 * (workers - 1), 2 * (workers - 1) / workers


def tree(workers: Array) -> Counts:
    """2 ceil(log2 P) (α + size / W): reduce up a binomial tree, then broadcast down the same.

    Thakur, Rabenseifner & Gropp 2005, "Optimization of collective communication operations in MPICH", Int. J. High
    Performance Computing Applications 19: few messages, but every one of them the whole gradient.
    """
    rounds = 2 * np.ceil(np.log2(workers))
    return rounds, rounds


PATTERNS: dict[str, Callable[[Array], Counts]] = {"ring": ring, "tree": tree, "parameter_server": parameter_server}


def counts(pattern: str, workers: ArrayLike) -> Counts:
    """([k] messages, [k] passes of the gradient over a link) for each number of workers [k]; none for one worker."""
    several = np.asarray(workers, dtype=float)
    messages, passes = PATTERNS[choose("pattern", pattern, PATTERNS)](several)
    return np.where(several > 1, messages, 0.0), np.where(several > 1, passes, 0.0)


def seconds(pattern: str, workers: ArrayLike, size: float, bandwidth: float, latency: float) -> Array:
    """T_sync [k] in seconds for each number of workers [k]. size: bytes. bandwidth: bytes/s. latency: seconds."""
    messages, passes = counts(pattern, workers)
    return messages * latency + passes * (size / bandwidth)


def combine(computing: Array, exchanging: Array, overlap: float) -> Array:
    """Seconds of a step, (x^γ + y^γ)^(1/γ), scaled by the longer part so that nothing under- or overflows.

    overlap: γ, 1 for one after the other, large for at once (Qiao et al. 2021, Pollux, OSDI, section 3.2).
    """
    longer, shorter = np.maximum(computing, exchanging), np.minimum(computing, exchanging)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(longer > 0, shorter / longer, 0.0)
    return np.asarray(longer * (1 + share**overlap) ** (1 / overlap))
