"""`batchscope doctor`: what a bug report needs: versions, threads, devices, executors, data found."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
from typing import Any

from rich.table import Table

from batchscope import __version__
from batchscope.cli.console import console, print_json
from batchscope.data.locate import find
from batchscope.data.registry import FILE_SETS

_PACKAGES = (
    *("torch", "numpy", "scipy", "scikit-learn", "pydantic", "rich", "pooch", "matplotlib", "plotly"),
    *("pyarrow", "ray"),  # extras
)
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "CUDA_VISIBLE_DEVICES")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare --data-dir."""
    parser.add_argument("--data-dir", metavar="DIR", help="look for data here first")


def run(arguments: argparse.Namespace) -> int:
    """Print versions, threads, devices, executors and the data found."""
    record = {
        "versions": _versions(),
        "threads": _threads(),
        "devices": _devices(),
        "executors": _executors(),
        "data": {name: str(at.folder) if (at := find(name, arguments.data_dir)) else None for name in FILE_SETS},
    }
    if arguments.json:
        print_json(record)
        return 0
    for title, values in record.items():
        table = Table("", "", title=title, show_header=False, title_justify="left")
        for key, value in values.items():
            table.add_row(key, _text(value))
        console().print(table)
    console().print("built in: digits, synthetic, gisette_like; what is not found: batchscope data get NAME")
    return 0


def _versions() -> dict[str, str | None]:
    return {
        "batchscope": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        **{package: _version(package) for package in _PACKAGES},
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _threads() -> dict[str, Any]:
    import torch

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cores usable": usable,
        "cores of the machine": os.cpu_count(),
        "torch threads": torch.get_num_threads(),
        **{name: os.environ.get(name) for name in _THREAD_VARIABLES},
    }


def _devices() -> dict[str, str]:
    import torch

    found = {"cpu": f"{platform.processor() or platform.machine()}, {torch.backends.cpu.get_cpu_capability()}"}
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        found[f"cuda:{index}"] = f"{properties.name}, {properties.total_memory / 2**30:.1f} GiB"
    if torch.backends.mps.is_available():
        found["mps"] = "Apple GPU"
    return found


def _executors() -> dict[str, str]:
    """What `batchscope run --executor` can do here; Ray itself is not imported, which would take a second."""
    address = os.environ.get("RAY_ADDRESS")
    where = f"joins the cluster at {address} (RAY_ADDRESS)" if address else "starts a cluster on this machine"
    missing = 'not installed: pip install "batchscope[ray]"'
    return {
        "processes": "one per core, or per CUDA device",
        "inline": "this process",
        "ray": f"{where}; another: RAY_ADDRESS=HOST:PORT" if _version("ray") else missing,
    }


def _text(value: Any) -> str:
    return "-" if value is None else str(value)
