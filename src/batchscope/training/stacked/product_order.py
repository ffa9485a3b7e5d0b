"""Which order of skinny products is faster here: it depends on the processor, and the roundings of the two differ.

A product of K = 20 units with B examples of d inputs can be had as [B, d] x [d, K] and turned, or as [K, d] x [d, B]
with the inputs read across. The library behind torch (MKL) runs the first faster on Intel's processors; on AMD's, for
which it has other kernels, the second takes half the time (docs/benchmarks.md). The maker decides and not a timing: a
cohort that is resumed, or trained by another worker of the machine, shall round as before.
"""

from __future__ import annotations

import functools
import platform
from pathlib import Path

import torch

CPU_INFO = Path("/proc/cpuinfo")  # Linux
AMD = "AuthenticAMD"  # what AMD's processors call themselves, there and on Windows


def examples_first(device: torch.device) -> bool:
    """Whether skinny products are made with the examples first and turned: but on AMD's processors, always."""
    return device.type != "cpu" or not _is_amd()


@functools.cache
def _is_amd() -> bool:
    try:
        return AMD in CPU_INFO.read_text()
    except OSError:
        return AMD in platform.processor()
