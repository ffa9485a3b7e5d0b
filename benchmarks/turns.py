"""What the benchmarks of a training step share: timing in turns, peaks of memory, and their command line."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import describe, peak_resident

Clock = Callable[[], float]


def step_parser(doc: str | None, rows: Iterable[str], out: str, side: str, rounds: int, threads: int) -> Any:
    """The arguments that such benchmarks have in common. side: what `--memory-of` takes besides a row."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--rows", default=",".join(rows))
    parser.add_argument("--threads", type=int, default=threads)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--processor-time", action="store_true", help="instead of wall time: on a busy machine")
    parser.add_argument("--out", default=out, help="name of the JSON file in benchmarks/results")
    parser.add_argument("--memory-of", nargs=2, metavar=("ROW", side), help=argparse.SUPPRESS)
    return parser


def begin(arguments: argparse.Namespace, *packages: str) -> tuple[Clock, dict[str, Any]]:
    """Set threads and warnings; the clock asked for, and the record of a run so far. packages: that took part."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(arguments.threads)
    clock = time.process_time if arguments.processor_time else time.perf_counter
    return clock, {
        "machine": describe(*packages), "threads": arguments.threads, "device": arguments.device,
        "rounds": arguments.rounds, "clock": clock.__name__,
    }  # fmt: skip


def timed(function: Callable[[], object], device: str | torch.device, clock: Clock = time.perf_counter) -> float:
    """Seconds of one call by `clock`."""
    on_cuda = torch.device(device).type == "cuda"
    if on_cuda:
        torch.cuda.synchronize(device)
    start = clock()
    function()
    if on_cuda:
        torch.cuda.synchronize(device)
    return clock() - start


def in_turns(
    sides: Mapping[str, Callable[[], object]],
    rounds: int,
    device: str | torch.device,
    clock: Clock = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of every side in every round, in which the sides take turns in their order."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, function in sides.items():
            times[name].append(timed(function, device, clock))
    return times


def ratios(mine: Iterable[float], base: Iterable[float]) -> list[float]:
    """Of the times of two sides, round by round."""
    return [a / b for a, b in zip(mine, base, strict=True)]


def spread_of(found: list[float]) -> dict[str, float]:
    """Median, least and most of the ratios."""
    return {"ratio": statistics.median(found), "ratio_least": min(found), "ratio_most": max(found)}


def reset_peak(device: str) -> None:
    """From here on `peak` counts anew."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")  # Linux: of resident memory


def peak(device: str) -> float:
    """Peak memory in MB since it was reset."""
    return torch.cuda.max_memory_allocated() / 1e6 if device == "cuda" else peak_resident()


def peak_of_process(program: str, row: str, side: str, device: str) -> float:
    """MB that `program --memory-of ROW SIDE` prints, in a process of its own."""
    command = [sys.executable, "-m", program, "--memory-of", row, side, "--device", device]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])
