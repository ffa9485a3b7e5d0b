"""What keeping freed memory saves: steps in processes that keep it, as workers do, and in ones that do not.

    python -m benchmarks.freed_memory [--rounds 3] [--rows "LeNet, B=1024;..."]

Every row trains one member in the way that training itself chooses, float32, one thread, on noise. Processes of both
kinds take turns; a time is the processor's, of the fastest of a few steps, and a ratio the median over rounds of one
turn's. Faults: page faults of a step. Memory: the most resident, MB. Writes benchmarks/results/freed_memory.json.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from typing import Any

import torch

from batchscope.analysis.formatting import number
from batchscope.architectures import Architecture
from batchscope.running.freed_memory import keep_freed_memory
from benchmarks.machine import describe, peak_resident, write
from benchmarks.training import FULLY_CONNECTED, LENET, Row, ours

STEPS = 4
SMALL_RESNET = Architecture("resnet18_blocks", (3, 32, 32), 10, 2, 16)
ROWS = {
    **{f"LeNet, B={B}": Row(LENET, B, (0.01,), 60_000, loaded=max(B, 1024)) for B in (64, 256, 1024, 4096)},
    **{f"small ResNet-18, B={B}": Row(SMALL_RESNET, B, (0.01,), 50_000, loaded=1024) for B in (16, 128, 512)},
    "784-20-10, B=4096": Row(FULLY_CONNECTED, 4096, (0.01,), 60_000, loaded=4096),
}


def one(title: str, keep: bool) -> dict[str, Any]:
    """A row in this process."""
    kept = keep_freed_memory() if keep else False
    torch.set_num_threads(1)
    run, execution = ours(ROWS[title], torch.device("cpu"))
    run(2)
    seconds, began = [], _faults()
    for _ in range(STEPS):
        start = time.process_time()
        run(1)
        seconds.append(time.process_time() - start)
    faults = (_faults() - began) / STEPS
    return {"seconds": min(seconds), "faults": faults, "memory": peak_resident(), "way": execution, "kept": kept}


def _faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def _in_process(title: str, keep: bool) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.freed_memory", "--one", title, *(["--keep"] if keep else [])]
    found: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    if found["kept"] != keep:
        raise SystemExit("this machine's C library, or its settings in the environment, cannot be told to keep memory")
    return found


def compare(title: str, rounds: int) -> dict[str, Any]:
    """Both kinds of process, in turns."""
    turns = [(_in_process(title, False), _in_process(title, True)) for _ in range(rounds)]
    faster = [given["seconds"] / kept["seconds"] for given, kept in turns]
    middle = {
        side: {name: statistics.median(turn[k][name] for turn in turns) for name in ("seconds", "faults", "memory")}
        for k, side in enumerate(("given back", "kept"))
    }
    return {"times_faster": statistics.median(faster), "all": faster, "way": turns[0][1]["way"], **middle}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", default=";".join(ROWS))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--keep", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(one(arguments.one, arguments.keep)))
        return
    record: dict[str, Any] = {"machine": describe(), "rounds": arguments.rounds, "rows": {}}
    for title in arguments.rows.split(";"):
        found = record["rows"][title] = compare(title, arguments.rounds)
        given, kept = found["given back"], found["kept"]
        changes = [f"{name} {number(given[name])} to {number(kept[name])}" for name in ("seconds", "faults", "memory")]
        faster = f"{found['times_faster']:.2f} times as fast"
        print("; ".join((f"{title:24} {faster}", *changes, found["way"] or "stacked")), flush=True)
    print(f"written to {write('freed_memory', record)}")


if __name__ == "__main__":
    main()
