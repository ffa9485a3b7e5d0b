"""Where numbers come from: versions, the commit of the code that made them, the machine, the command."""

from __future__ import annotations

import datetime
import functools
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from batchscope import __version__

PACKAGES = ("torch", "numpy")  # what numbers depend on, beside batchscope and Python


@functools.cache
def versions() -> str:
    """Return e.g. "batchscope 0.1.0, torch 2.13.0, numpy 2.4.6, python 3.11.7, Linux x86_64"."""
    packages = [f"{name} {metadata.version(name)}" for name in PACKAGES]
    system = f"{platform.system()} {platform.machine()}"
    return ", ".join((f"batchscope {__version__}", *packages, f"python {platform.python_version()}", system))


@functools.cache
def commit() -> str:
    """Return the commit of the checkout this code runs from, with "+" where it was changed; "" outside a checkout."""
    folder = Path(__file__).resolve().parent
    head = _git(folder, "rev-parse", "--short=12", "HEAD")
    # An installed copy may lie inside somebody else's checkout (a .venv): only files git knows are this code's.
    if not head or not _git(folder, "ls-files", Path(__file__).name):
        return ""
    return head + ("+" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")


def run_record(**choices: Any) -> dict[str, Any]:
    """Return what one call of `run` was: when, by which command, on which machine, with which choices.

    The command as a person types it: where the program lies on this machine is nobody's business who reads the results.
    """
    return {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),  # tells short runs apart
        "command": ["batchscope", *sys.argv[1:]],
        "versions": versions(),
        "commit": commit(),
        "machine": f"{platform.machine()} {_processor()}, {os.cpu_count()} cores",
        **choices,
    }


def _processor() -> str:
    """The processor's name where Linux tells it; Python's own answer is often empty."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _git(folder: Path, *words: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
