"""What every benchmark records beside its numbers, and where it writes them."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from pathlib import Path
from typing import Any

import batchscope as bs

OUT = Path(__file__).parent / "results"


def describe(*packages: str) -> dict[str, Any]:
    """Processor, cores and versions; a package that is not installed is None."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        # The code that runs says its own version: of a checkout, the installed metadata may be older.
        "versions": {"batchscope": bs.__version__} | {name: _version(name) for name in ("torch", "numpy", *packages)},
    }


def write(name: str, record: dict[str, Any]) -> Path:
    """Write the record as benchmarks/results/NAME.json and return the path."""
    OUT.mkdir(exist_ok=True)
    path = OUT / f"{name}.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    return path


def peak_resident() -> float:
    """The most resident memory of this process so far, in MB. Linux only.

    getrusage would do elsewhere, but its maximum outlives exec: a child starts with that of its parent.
    """
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1e3


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
