"""What the theory room costs: exact ratios of very deep networks, two-layer averages, the import.

    python -m benchmarks.theory [--rounds 9]

Medians over rounds, one thread, written to benchmarks/results/theory.json. Every two-layer call is timed with its cache
empty. Limits aimed at: 10 ms for the exact ratio of 1000 layers, 1 s for a two-layer value.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

from batchscope.theory import chen2018, two_layer
from benchmarks.machine import describe, write

DEEP = (784, *[20] * 999, 1)
CASES: dict[str, Callable[[], object]] = {
    "exact ratio, 1000 layers, n = inf": lambda: chen2018.diversity_ratio(DEEP),
    "exact ratio, 1000 layers, n = 60000": lambda: chen2018.diversity_ratio(DEEP, 60_000),
    "exact ratio, 1000 layers, fan_in": lambda: chen2018.diversity_ratio(DEEP, weight_std="fan_in"),
    "exact ratio, 3 layers": lambda: chen2018.diversity_ratio((784, 20, 20, 1), 60_000),
    "integer moments, 100 layers": lambda: chen2018.expected_moments((784, *[20] * 99, 1), 60_000),
    "two layers, tanh, d = 20, K = 8": lambda: chen2018.two_layer_ratio("tanh", 8, 20),
    "two layers, softsign, d = 20, K = 8": lambda: chen2018.two_layer_ratio("softsign", 8, 20),
    "two layers, erf, d = 100000, K = 16384": lambda: chen2018.two_layer_ratio("erf", 16_384, 100_000),
    "two layers, tanh, d = 3 (angles)": lambda: chen2018.two_layer_ratio("tanh", 8, 3),
    "two layers, erf, d = 7 (angles)": lambda: chen2018.two_layer_ratio("erf", 8, 7),
    "two layers, relu, d = 20, K = 8": lambda: chen2018.two_layer_ratio("relu", 8, 20),
}


def milliseconds(call: Callable[[], object]) -> float:
    two_layer._averages.cache_clear()
    start = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - start)


def import_milliseconds(module: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
    return 1000 * (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = range(parser.parse_args().rounds)
    medians = {name: statistics.median([milliseconds(call) for _ in rounds]) for name, call in CASES.items()}
    for module in ("numpy", "batchscope.theory"):
        medians[f"python -c 'import {module}'"] = statistics.median([import_milliseconds(module) for _ in rounds])
    for name, median in medians.items():
        print(f"{median:10.2f} ms  {name}")
    print(write("theory", {"milliseconds": medians, "rounds": len(rounds), "machine": describe("scipy")}))


if __name__ == "__main__":
    main()
