"""The paper's motive, its section 1, answered from the steps that `benchmarks.workers` timed: M1."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from batchscope.analysis.formatting import grouped, number
from reproduction import convolutional  # noqa: F401  the page lists them first
from reproduction.evidence import HOLDS, IN_PART, Answer, claim

TIMED = Path(__file__).parent.parent / "benchmarks" / "results" / "workers-lenet.json"


@claim("M1", "more workers at a fixed batch: gains saturate beyond a few tens of workers; larger batches restore them")
def _m1() -> Answer:
    shapes = json.loads(TIMED.read_text())["shapes"]
    parts = [_of_shape(shape) for shape in shapes]
    return Answer(
        "; ".join(parts),
        HOLDS if all(map(_saturates_later, shapes)) else IN_PART,
        "`python -m benchmarks.workers --family lenet`: LeNets on 2000 MNIST images to 98 %, two processes for real, "
        "more by a delay at every exchange (ring, 10 Gbit/s, 50 µs), least step times",
    )


def _of_shape(shape: dict[str, Any]) -> str:
    lines = [f"{size}: {found['fastest']} ({_peaks(found)})" for size, found in shape["fixed"].items()]
    workers, best = max(shape["best"]["measured"].items(), key=lambda pair: pair[1]["speedup"])
    return (
        f"{shape['shape']} ({grouped(shape['parameters'])} parameters): workers of the fastest step with B kept at "
        f"{', '.join(lines)}; to the target, B at its best for every number of workers, at most "
        f"{number(best['speedup'])} times as fast, with {workers}"
    )


def _peaks(found: dict[str, Any]) -> str:
    """The largest speed-up over one worker among the numbers of workers timed, measured and predicted."""
    measured, predicted = (number(max(found[kind].values())) for kind in ("measured", "predicted"))
    return f"{measured} times, predicted {predicted}"


def _saturates_later(shape: dict[str, Any]) -> bool:
    """Whether the smaller batches gain nothing from all 64 workers, and a larger batch never saturates earlier."""
    fastest = [found["fastest"] for found in shape["fixed"].values()]
    return fastest[0] < 64 and fastest == sorted(fastest) and fastest[-1] > fastest[0]
