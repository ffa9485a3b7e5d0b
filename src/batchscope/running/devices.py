"""What this machine has to train on."""

from __future__ import annotations

import os

from batchscope.errors import InputError, choose, shown

DEVICES = ("auto", "cpu", "cuda")
MOST_WORKERS = 10_000  # beyond the processes that one machine starts, and the CPUs of most clusters


def resolve_device(device: str) -> str:
    """Return "cpu" or "cuda"; raise InputError for CUDA where there is none."""
    choose("device", device, DEVICES)
    if device == "cpu":
        return device
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("device 'cuda' was asked for, but PyTorch sees no CUDA device; use cpu or auto")
    return "cuda" if torch.cuda.is_available() else "cpu"


def check_workers(workers: int) -> None:
    """Raise InputError for a number of processes that cannot be started."""
    if not 1 <= workers <= MOST_WORKERS:
        raise InputError(f"workers = {shown(workers)}; expected at least 1, and at most {MOST_WORKERS}")


def default_workers(device: str) -> int:
    """Return the CPU cores this process may use, or the CUDA devices."""
    if device == "cuda":
        import torch

        return torch.cuda.device_count()
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
