"""What it costs to take a batch size's own error from all shapes of a study where it is not the same for all.

    python -m benchmarks.unequal_errors [--studies 200]

Studies of two equal shapes (B_crit = 400, 8 batch sizes, 5 seeds, 10 % between seeds), whose batch sizes have one own
error (standard deviation in log epochs), and of others with another. Each study is judged twice: by the error of all
shapes together, as `batch_threshold` does, and by each shape's alone, as `compare` does. Printed: how often the
interval of the first shape holds the truth, and how often the equal shapes are told apart, at a probability of 0.95
either way (10 % by chance). Writes benchmarks/results/unequal_errors.json.
"""

from __future__ import annotations

import argparse

import numpy as np

from batchscope.analysis.intervals import CERTAIN
from batchscope.analysis.log_times import LogTimes, log_times
from batchscope.analysis.ratios import probability_larger
from batchscope.analysis.sweeps import Sweep
from batchscope.analysis.thresholds import estimate
from benchmarks.coverage import B_CRIT, DRAWS, TRUTHS, Design, holds, named
from benchmarks.machine import describe, write

# (own error of the two, of the others, how many others)
ROWS = ((0.15, 0.15, 1), (0.3, 0.0, 1), (0.3, 0.0, 8), (0.3, 0.15, 8), (0.2, 0.1, 8), (0.1, 0.5, 1))


def of_row(ends: float, others: float, count: int, definition: str, studies: int) -> dict[str, float]:
    """Shares over the studies, by the error of all shapes and by each one's own."""
    rng = np.random.default_rng(0)
    found: dict[str, list[bool]] = {}
    for study in range(studies):
        of = [("one", ends), ("other", ends), *((f"more {k}", others) for k in range(count))]
        sweeps = {name: Design(own=own).draw(rng, B_CRIT, name) for name, own in of}
        alone = {name: log_times({name: sweep})[name] for name, sweep in sweeps.items()}
        for way, times in (("of all", log_times(sweeps)), ("of its own", alone)):
            held, told = _judged(sweeps, times, definition, study)
            found.setdefault(f"holds, {way}", []).append(held)
            found.setdefault(f"told apart, {way}", []).append(told)
    return {name: float(np.mean(values)) for name, values in found.items()}


def _judged(sweeps: dict[str, Sweep], times: dict[str, LogTimes], definition: str, study: int) -> tuple[bool, bool]:
    """(whether the interval of the first holds the truth, whether the two are told apart) in one study."""
    design = Design()
    one, other = (
        estimate(sweeps[name], named(definition, design), DRAWS, seed=study, stream=k, times=times[name])
        for k, name in enumerate(("one", "other"))
    )
    sure = probability_larger(one, other)[0]
    return holds(one, TRUTHS[definition](design, B_CRIT)) is True, max(sure, 1 - sure) >= CERTAIN


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=200)
    studies = parser.parse_args().studies
    record: dict[str, object] = {"machine": describe(), "studies": studies}
    for definition in ("within_epochs", "b_crit"):
        for ends, others, count in ROWS:
            title = f"{definition}: own error {ends:g}, of {count} others {others:g}"
            shares = of_row(ends, others, count, definition, studies)
            record[title] = shares
            print(title, *(f"{name} {share:.3f}" for name, share in shares.items()), sep="; ", flush=True)
    print(f"written to {write('unequal_errors', record)}")


if __name__ == "__main__":
    main()
