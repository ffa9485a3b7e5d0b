"""How often the findings are right: studies drawn from known curves. `python -m benchmarks.findings`.

Epochs are lognormal about E_min (1 + B / B_crit), one curve per shape; "own error" multiplies all runs of one batch
size and shape by one more lognormal factor, as a badly tuned step size would. Prints, per row, the shares of studies in
which F1 and F2 are decided between shapes with one curve, of intervals of ratios of epochs that hold the truth (bounds
included), of shapes twice as slow that are found (F2 right), of shapes with one curve said to be mixed (F2 mixed), of
shapes whose curves cross at B = 300 said so (F2 crossing), and of studies with a flat shape said to slow down (F0).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from batchscope.analysis.formatting import plain
from batchscope.analysis.intervals import CERTAIN
from batchscope.analysis.log_times import log_times
from batchscope.analysis.same_batch import EpochRatios, epoch_ratios
from batchscope.analysis.slow_down import slow_downs
from batchscope.analysis.sweeps import Sweep
from batchscope.analysis.trend import trend
from benchmarks.drawn_sweeps import BATCH_SIZES, NUM_EXAMPLES, Array, drawn_sweep
from benchmarks.machine import describe, write


@dataclass(frozen=True)
class Design:
    """A kind of study. checks: of the target per epoch. own: error of a batch size. cap: epochs allowed."""

    num_sizes: int = 8
    num_seeds: int = 5
    spread: float = 0.1
    own: float = 0.0
    checks: int = 20
    cap: float = 1e9
    num_shapes: int = 4

    @property
    def batch_sizes(self) -> Array:
        """From 32 to 4096."""
        return np.round(np.geomspace(*BATCH_SIZES, self.num_sizes))


def study(
    rng: np.random.Generator, design: Design, fewest: Sequence[float] | Array, b_crit: float | Array
) -> dict[str, Sweep]:
    """One study: a shape for every E_min in `fewest`, with one B_crit for all (inf: flat) or one each."""
    each = np.broadcast_to(b_crit, len(fewest)).tolist()
    pairs = zip(fewest, each, strict=True)
    return {f"shape {k}": _sweep(rng, design, k + 1, e_min, end) for k, (e_min, end) in enumerate(pairs)}


def _sweep(rng: np.random.Generator, design: Design, depth: int, e_min: float, b_crit: float) -> Sweep:
    sizes, m = design.batch_sizes, design.num_sizes
    cell = np.repeat(np.arange(m), design.num_seeds)
    log_own = design.own * rng.standard_normal(m)
    noise = log_own[cell] + design.spread * rng.standard_normal(len(cell))
    epochs = e_min * (1 + sizes[cell] / b_crit) * np.exp(noise)
    return drawn_sweep(
        f"shape {depth - 1}",
        sizes,
        np.ceil(epochs * design.checks) / design.checks,
        resolution=1 / design.checks,
        cap=design.cap,
        steps_per_epoch=np.ceil(NUM_EXAMPLES / sizes[cell]),
        depth=depth,
        target="train loss 0.1",
    )


def row(design: Design, studies: int, with_trend: bool = True) -> dict[str, float]:
    """The shares, over so many studies of each kind."""
    rng, other_rng, k = np.random.default_rng(0), np.random.default_rng(1), design.num_shapes
    found: dict[str, list[bool]] = {
        name: [] for name in ("F1 decided", "F2 decided", "F2 holds", "F2 right", "F2 mixed", "F2 crossing", "F0 flat")
    }
    for number in range(studies):
        equal = study(rng, design, [10.0] * k, 400.0)
        ratios = epoch_ratios(log_times(equal), CERTAIN)
        found["F2 decided"].append(not ratios.is_mixed and not 1 - CERTAIN < ratios.probability < CERTAIN)
        found["F2 mixed"].append(ratios.is_mixed)
        found["F2 holds"] += _holds(ratios, 1)
        if with_trend:
            found["F1 decided"].append(not 1 - CERTAIN < trend(equal, "b_crit", seed=number).probability < CERTAIN)
        slower = study(rng, design, 10.0 * np.geomspace(1, 2, k), 400.0)
        other = epoch_ratios(log_times(slower), CERTAIN)
        found["F2 holds"] += _holds(other, 2)
        found["F2 right"].append(not other.is_mixed and other.probability >= CERTAIN)
        crossing = study(other_rng, design, 10.0 * np.geomspace(1, 2, k), 200.0 * np.geomspace(1, 6, k))
        found["F2 crossing"].append(epoch_ratios(log_times(crossing), CERTAIN).is_mixed)
        flat = study(rng, design, [10.0] * k, np.inf)
        found["F0 flat"].append(slow_downs(log_times(flat)).count > 0)
    return {name: float(np.mean(values)) if values else float("nan") for name, values in found.items()}


def _holds(ratios: EpochRatios, truth: float) -> list[bool]:
    """Of the widest against the deepest, at every batch size at which one of them arrived."""
    return [one.interval[0] <= truth <= one.interval[1] for one in ratios.ends if not np.isnan(one.probability)]


ROWS = {
    "8 x 5, 10 %": Design(),
    "8 x 5, 10 %, own error 15 %": Design(own=0.15),
    "8 x 3, 20 %": Design(num_seeds=3, spread=0.2),
    "8 x 3, 10 %, own error 15 %": Design(num_seeds=3, own=0.15),
    "8 x 2, 10 %": Design(num_seeds=2),
    "8 x 2, 10 %, own error 15 %": Design(num_seeds=2, own=0.15),
    "8 x 5, 10 %, 1 check per epoch": Design(checks=1),
    "8 x 5, 10 %, stopped after 60 epochs": Design(cap=60.0),
    "4 x 5, 10 %": Design(num_sizes=4),
    "4 x 5, 10 %, own error 15 %": Design(num_sizes=4, own=0.15),
    "4 x 3, 10 %, own error 15 %": Design(num_sizes=4, num_seeds=3, own=0.15),
    "three shapes, 3 x 3, 10 %, 1 check per epoch": Design(num_shapes=3, num_sizes=3, num_seeds=3, checks=1),
    "three shapes, 3 x 3, 10 %, 1 check per epoch, own error 15 %": Design(
        num_shapes=3, num_sizes=3, num_seeds=3, checks=1, own=0.15
    ),
    "three shapes, 3 x 3, 10 %, 1 check per epoch, own error 25 %": Design(
        num_shapes=3, num_sizes=3, num_seeds=3, checks=1, own=0.25
    ),
    "two shapes, 8 x 5, 10 %, own error 15 %": Design(num_shapes=2, own=0.15),
    "two shapes, 4 x 3, 10 %, own error 15 %": Design(num_shapes=2, num_sizes=4, num_seeds=3, own=0.15),
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=300, help="studies per row and kind")
    parser.add_argument("--without-trend", action="store_true", help="leave F1 out, which takes most of the time")
    arguments = parser.parse_args()
    rows = {}
    for name, design in ROWS.items():
        rows[name] = row(design, arguments.studies, not arguments.without_trend)
        print(f"{name}: " + ", ".join(f"{key} {value:.3f}" for key, value in rows[name].items()), flush=True)
    write("findings", {"machine": describe(), "studies": arguments.studies, "rows": plain(rows)})


if __name__ == "__main__":
    main()
