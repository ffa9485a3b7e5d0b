"""Where one driver saturates: 10^5 cohorts on a thousand workers, as events.

    python -m benchmarks.driver_queue [--per-cohort 0.003]

Assumptions. A worker trains a cohort, then hands its results to the driver and waits for the next one; the driver
takes one result at a time, in order of arrival, and needs `per_cohort` seconds for each (the rows of the cohort in one
transaction, the question what is next, the message), measured by `benchmarks.scale`. Cohorts last lognormal times of
the given mean, with a standard deviation of the logarithm of 1, and go out longest first, as `run` hands them out by
predicted cost, which is right to 30 %. Nothing fails; the network takes 1 ms. `ahead`: cohorts that a worker holds
besides the one it trains, so that it need not wait for an answer. Shards: each a driver with its part of workers and
cohorts.

What it shows: the driver is the limit at the end, when the short cohorts go out; holding cohorts ahead does not help
there, a faster driver helps in proportion, shards more than that.
"""

from __future__ import annotations

import argparse
import heapq
from collections.abc import Sequence

import numpy as np

WORKERS, COHORTS = 1_000, 100_000
SPREAD, NETWORK, PREDICTION_ERROR = 1.0, 1e-3, 0.3


def utilisation(
    per_cohort: float,
    mean_seconds: float,
    workers: int = WORKERS,
    cohorts: int = COHORTS,
    ahead: int = 0,
    seed: int = 0,
) -> float:
    """Share of the workers' time spent training, from the first cohort handed out to the last one stored.

    per_cohort: the driver's seconds for each cohort. mean_seconds: of a cohort. ahead: see the head of this file.
    """
    durations = _longest_first(mean_seconds, cohorts, np.random.default_rng(seed))
    free = [0.0] * workers  # when each worker would be done with what it holds
    # Requests wait for the driver by the time they arrive: a worker asks when it has room for one more cohort.
    requests = [(0.0, worker) for worker in range(workers) for _ in range(ahead + 1)]
    heapq.heapify(requests)
    driver = 0.0
    for duration in durations:
        asked, worker = heapq.heappop(requests)
        driver = max(driver, asked) + per_cohort
        begins = max(free[worker], driver + NETWORK)
        free[worker] = begins + duration
        heapq.heappush(requests, (free[worker] + NETWORK, worker))
    end = max(free) + NETWORK + per_cohort
    return float(sum(durations) / (workers * end))


def _longest_first(mean: float, cohorts: int, rng: np.random.Generator) -> list[float]:
    logs = rng.normal(np.log(mean) - SPREAD**2 / 2, SPREAD, cohorts)
    predicted = logs + rng.normal(0.0, PREDICTION_ERROR, cohorts)
    return [float(value) for value in np.exp(logs[np.argsort(-predicted)])]


def saturation(per_cohort: float, share: float = 0.9, **options: int) -> float:
    """The mean seconds of a cohort from which on workers are busy for that share of the time, to 5 %."""
    low, high = 1e-3, 1e5
    while high > 1.05 * low:
        middle = (low * high) ** 0.5
        low, high = (low, middle) if utilisation(per_cohort, middle, **options) >= share else (middle, high)
    return high


def table(per_cohort: float, workers: int = WORKERS, cohorts: int = COHORTS) -> dict[str, float]:
    """How long a cohort must be for a thousand workers to be 90 % busy, as it is and with what would lift it."""
    size = {"workers": workers, "cohorts": cohorts}
    return {
        "driver, ms a cohort": 1e3 * per_cohort,
        "cohorts a second at most": 1 / per_cohort,
        "busy with cohorts of 1 s": utilisation(per_cohort, 1.0, **size),
        "busy with cohorts of 10 s": utilisation(per_cohort, 10.0, **size),
        "busy with cohorts of 60 s": utilisation(per_cohort, 60.0, **size),
        "seconds of a cohort for 90 %": saturation(per_cohort, **size),
        "the same, one cohort held ahead": saturation(per_cohort, **size, ahead=1),
        "the same, driver twice as fast": saturation(per_cohort / 2, **size),
        "the same, ten shards": saturation(per_cohort, workers=workers // 10, cohorts=cohorts // 10),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--per-cohort", type=float, default=0.003, help="seconds of the driver for each cohort")
    for name, value in table(parser.parse_args(arguments).per_cohort).items():
        print(f"{name:40} {value:.3g}")


if __name__ == "__main__":
    main()
