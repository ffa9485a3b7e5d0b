"""How often the intervals hold the truth, and verdicts are right: studies drawn from known curves.

    python -m benchmarks.coverage [--studies 300] [--only WORDS]

Epochs to target are lognormal about E_min (1 + B/B_crit); "own error" multiplies all runs of one batch size by one more
lognormal factor, as a badly tuned step size would. Every row draws so many studies, each of a shape with B_crit = 400,
one with the same, one with half and one with a quarter of it, and one whose ratio to the first is anything between 1/4
and 4 (uniform in its logarithm). A verdict is decided at a probability of 0.95 either way. Rows are written to
benchmarks/results/coverage.json as they come.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product

import numpy as np

from batchscope.analysis.fit.arrivals import typical_times
from batchscope.analysis.fit.critical_batch import fit_sweep
from batchscope.analysis.formatting import plain
from batchscope.analysis.log_times import log_times
from batchscope.analysis.ratios import probability_larger
from batchscope.analysis.sweeps import Sweep
from batchscope.analysis.threshold_estimate import ThresholdEstimate
from batchscope.analysis.thresholds import estimate
from benchmarks.drawn_sweeps import BATCH_SIZES, NUM_EXAMPLES, Array, drawn_sweep
from benchmarks.machine import describe, write

B_CRIT, DRAWS, CERTAIN = 400.0, 400, 0.95
OVERHEAD = 0.2


@dataclass(frozen=True)
class Design:
    """How studies of a row are drawn. own: error of a batch size; resolution: epochs between two checks; cap: epochs
    after which runs stop; diverging: share of the runs slower than typical (of all runs if negative) that diverge."""

    sizes: int = 8
    seeds: int = 5
    spread: float = 0.1
    own: float = 0.0
    resolution: float = 0.05
    fastest: float = 10.0
    cap: float = math.inf
    diverging: float = 0.0
    sharpness: float = 1.0
    uneven: bool = False  # seeds of large batches vary three times as much as those of small ones

    @property
    def batch_sizes(self) -> Array:
        return np.geomspace(*BATCH_SIZES, self.sizes)

    def epochs(self, batch_size: Array | float, b_crit: float) -> Array:
        """E(B) of the curve."""
        ratio = np.asarray(batch_size, dtype=float) / b_crit
        result: Array = self.fastest * (1 + ratio**self.sharpness) ** (1 / self.sharpness)
        return result

    def draw(self, rng: np.random.Generator, b_crit: float, shape: str = "net") -> Sweep:
        """One shape's runs."""
        sizes, cell = self.batch_sizes, np.repeat(np.arange(self.sizes), self.seeds)
        spread = self.spread * (np.linspace(0.5, 1.5, self.sizes)[cell] if self.uneven else 1.0)
        middle = self.epochs(sizes[cell], b_crit) * np.exp(self.own * rng.standard_normal(self.sizes))[cell]
        met = middle * np.exp(spread * rng.standard_normal(len(cell)))
        slow = met > middle if self.diverging > 0 else np.ones(len(cell), bool)
        diverged = slow & (rng.random(len(cell)) < abs(self.diverging))
        return drawn_sweep(
            shape,
            sizes,
            np.ceil(met / self.resolution) * self.resolution,
            resolution=self.resolution,
            cap=self.cap,
            steps_per_epoch=NUM_EXAMPLES / sizes[cell],
            diverged=diverged,
        )


def overhead_truth(design: Design, b_crit: float) -> float:
    """Where the curve's epochs are 20 % above those of the smallest batch size."""
    limit = (1 + OVERHEAD) * float(design.epochs(32.0, b_crit)) / design.fastest
    return float(b_crit * (limit**design.sharpness - 1) ** (1 / design.sharpness))


def tested_truth(design: Design, b_crit: float) -> float:
    """The same, rounded down to a batch size tested; inf beyond them."""
    exact, sizes = overhead_truth(design, b_crit), design.batch_sizes
    return math.inf if exact > sizes[-1] else float(sizes[sizes <= exact * (1 + 1e-9)].max())


LIMIT = 3.0  # times the fastest epochs: within_epochs
STEPS = 3.0  # times the fewest steps with B_CRIT: within_steps


def within_truth(design: Design, b_crit: float) -> float:
    return float(b_crit * (LIMIT**design.sharpness - 1) ** (1 / design.sharpness))


def steps_truth(design: Design, b_crit: float) -> float:
    """The smallest batch size within so many steps: E(B) n / B = STEPS E_min n / 400; inf where there is none."""
    a = design.sharpness
    left = float((STEPS / B_CRIT) ** a - b_crit**-a)
    found = left ** (-1 / a) if left > 0 else math.inf
    return found if found <= design.batch_sizes[-1] else math.inf


TRUTHS: dict[str, Callable[[Design, float], float]] = {
    "b_crit": lambda _, b_crit: b_crit,
    "overhead_20": overhead_truth,
    "paper2018": tested_truth,
    "within_epochs": within_truth,
    "within_steps": steps_truth,
}


def named(definition: str, design: Design) -> str:
    """The definition with the number that goes with the design."""
    if definition == "within_epochs":
        return f"within_epochs({LIMIT * design.fastest:g})"
    if definition == "within_steps":
        return f"within_steps({STEPS * design.fastest * NUM_EXAMPLES / B_CRIT:g})"
    return definition


def holds(found: ThresholdEstimate, truth: float) -> bool | None:
    """Whether the interval holds the truth; None where none is printed."""
    low, high = found.interval
    return None if math.isnan(low) else low <= truth <= high


Pair = tuple[ThresholdEstimate, ThresholdEstimate]


def _pair(first: Sweep, second: Sweep, definition: str, seed: int) -> Pair:
    """Both shapes of a study, as `batch_threshold` estimates them; `compare` takes each one's own error alone."""
    times = list(log_times({"first": first, "second": second}).values())
    one, other = (
        estimate(sweep, definition, DRAWS, seed=seed, stream=k, times=times[k])
        for k, sweep in enumerate((first, second))
    )
    return one, other


@dataclass
class Tally:
    """What became of one definition over the studies of a row."""

    held: list[bool]
    values: list[float]
    decided: dict[str, list[float]]
    stated: list[bool]

    def add(self, pairs: dict[str, Pair], truths: dict[str, float]) -> None:
        """One study: shape -> it and the first, and the truths. decided: 1 rightly, -1 wrongly, 0 not."""
        for key in ("equal", "half", "any"):
            self.held += [
                ok for which in (0, 1) if (ok := holds(pairs[key][which], truths[("first", key)[which]])) is not None
            ]
        self.values.append(pairs["equal"][0].ordering)
        for key, outcomes in self.decided.items():
            sure = probability_larger(*pairs[key])[0]
            sign = np.sign(truths["first"] - truths[key]) or 1.0
            outcomes.append(float(sign) * (float(sure >= CERTAIN) - float(sure <= 1 - CERTAIN)))
        sure = probability_larger(*pairs["any"])[0]
        if max(sure, 1 - sure) >= CERTAIN:
            larger = truths["first"] > truths["any"]
            self.stated.append(truths["first"] != truths["any"] and (sure > 0.5) == larger)

    def shares(self, truth: float) -> dict[str, float]:
        outcome = {key: np.array(outcomes) for key, outcomes in self.decided.items()}
        return {
            "coverage": float(np.mean(self.held)) if self.held else math.nan,
            "median / true": float(np.median(self.values) / truth),
            "equal decided": float(np.mean(outcome["equal"] != 0)),
            "ratio 2 right": float(np.mean(outcome["half"] > 0)),
            "ratio 2 wrong": float(np.mean(outcome["half"] < 0)),
            "ratio 4 right": float(np.mean(outcome["quarter"] > 0)),
            "ratio 4 wrong": float(np.mean(outcome["quarter"] < 0)),
            "stated right": float(np.mean(self.stated)) if self.stated else math.nan,
            "stated": float(len(self.stated)),
        }


def of_design(design: Design, studies: int) -> dict[str, dict[str, float]]:
    """Definition -> coverage, and how pairs of shapes are decided."""
    rng = np.random.default_rng(0)
    tallies = {name: Tally([], [], {"equal": [], "half": [], "quarter": []}, []) for name in TRUTHS}
    for study in range(studies):
        ratio = float(np.exp2(rng.uniform(-2, 2)))
        b_crits = {"first": 1.0, "equal": 1.0, "half": 0.5, "quarter": 0.25, "any": ratio}
        sweeps = {key: design.draw(rng, B_CRIT * factor) for key, factor in b_crits.items()}
        for definition, tally in tallies.items():
            name, truth = named(definition, design), TRUTHS[definition]
            pairs = {key: _pair(sweeps["first"], sweep, name, study) for key, sweep in sweeps.items() if key != "first"}
            tally.add(pairs, {key: truth(design, B_CRIT * factor) for key, factor in b_crits.items()})
    return {name: tally.shares(TRUTHS[name](design, B_CRIT)) for name, tally in tallies.items()}


def flat(design: Design, definition: str, studies: int, b_crit: float) -> dict[str, float]:
    """A curve without a slow-down (or one far below the sweep): how often a number is printed, and how wrong."""
    rng = np.random.default_rng(0)
    found = [estimate(design.draw(rng, b_crit), definition, DRAWS, seed=study) for study in range(studies)]
    outside = math.inf if b_crit > design.batch_sizes[-1] else 0.0
    return {
        "printed as a number": float(np.mean([math.isfinite(one.value) for one in found])),
        "interval excludes the truth": float(
            np.mean([not (one.interval[0] <= outside <= one.interval[1]) for one in found])
        ),
    }


def seeds_only(design: Design, studies: int) -> dict[str, float]:
    """The interval by seeds alone, and how often the lack-of-fit test rejects at 5 %."""
    rng = np.random.default_rng(0)
    fits = [fit_sweep(design.draw(rng, B_CRIT), resamples=50) for _ in range(studies)]
    return {
        "coverage": float(np.mean([fit.interval[0] <= B_CRIT <= fit.interval[1] for fit in fits])),
        "seeds only": float(np.mean([fit.interval_seeds[0] <= B_CRIT <= fit.interval_seeds[1] for fit in fits])),
        "misfit p < 0.05": float(np.mean([fit.misfit < 0.05 for fit in fits])),
    }


def epochs_of_a_cell(truth: float, seeds: int, spread: float, resolution: float, cells: int) -> dict[str, float]:
    """Intervals of the median and of the mean epochs of one shape at one batch size."""
    rng = np.random.default_rng(0)
    met = truth * np.exp(spread * rng.standard_normal((cells, seeds)))
    high = np.ceil(met / resolution).ravel() * resolution
    cell = np.repeat(np.arange(cells), seeds)
    result = {}
    for statistic, value in (("median", truth), ("mean", truth * math.exp(spread**2 / 2))):
        found = typical_times(high - resolution, high, cell, statistic=statistic)  # type: ignore[arg-type]
        low, top = np.nan_to_num(found.low), np.nan_to_num(found.high, nan=np.inf)
        result[statistic] = float(np.mean((low <= value) & (value <= top)))
    return result


ONCE = 1.0  # a check per epoch
DESIGNS = {
    f"{sizes} x {seeds}, own error {100 * own:g} %, {words}": Design(sizes, seeds, own=own, resolution=resolution)
    for sizes in (8, 4)
    for seeds in (2, 3, 5)
    for own in (0.0, 0.15)
    for words, resolution in (("20 checks", 0.05), ("1 check", ONCE))
}
CAPPED = Design(cap=40.0, resolution=0.05)
DESIGNS |= {
    "8 x 5, noise 20 %": Design(spread=0.2),
    "8 x 5, noise 20 %, own error 15 %": Design(spread=0.2, own=0.15),
    "8 x 5, stopped after 40 epochs": CAPPED,
    "8 x 5, stopped after 40 epochs, own error 15 %": replace(CAPPED, own=0.15),
    "8 x 5, noise 20 %, 60 % of the slow half diverge": Design(spread=0.2, diverging=0.6),
    "8 x 5, noise 20 %, 30 % of all diverge": Design(spread=0.2, diverging=-0.3),
    "8 x 5, 2 epochs at the least, 1 check": Design(fastest=2.3, resolution=ONCE),
    "8 x 1": Design(seeds=1),
}
# not looked at while the intervals were made: other noise, other curves, uneven seeds, many sizes
UNSEEN = {
    "8 x 5, noise 3 %, own error 5 %": Design(spread=0.03, own=0.05),
    "8 x 3, noise 40 %, own error 30 %": Design(seeds=3, spread=0.4, own=0.3),
    "6 x 4, own error 15 %, uneven seeds": Design(sizes=6, seeds=4, own=0.15, uneven=True),
    "29 x 2, own error 15 %": Design(sizes=29, seeds=2, own=0.15),
    "8 x 5, sharpness 3, own error 15 %": Design(sharpness=3.0, own=0.15),
    "8 x 5, sharpness 0.6": Design(sharpness=0.6),
}

Rows = dict[str, dict[str, float]]


def tables(studies: int) -> dict[str, Callable[[], Rows]]:
    """Name -> what computes its rows."""
    found: dict[str, Callable[[], Rows]] = {
        name: partial(of_design, design, studies)
        for name, design in (DESIGNS | {f"unseen: {name}": design for name, design in UNSEEN.items()}).items()
    }
    found["curves without a slow-down, and below the sweep"] = partial(_outside, studies)
    found["the fit of B_crit"] = partial(_fits, studies)
    found["epochs of a cell, 1 check per epoch"] = partial(_cells, studies)
    return found


def _outside(studies: int) -> Rows:
    rows = {}
    for definition, sizes, own in product(("paper2018", "overhead_20"), (8, 29), (0.0, 0.15)):
        name = f"{definition}, flat, {sizes} x 5, noise 20 %, own error {100 * own:g} %"
        rows[name] = flat(Design(sizes=sizes, spread=0.2, own=own), definition, studies, 1e9)
    for definition in ("b_crit", "paper2018", "overhead_20"):
        rows[f"{definition}, B_crit = 2, 8 x 5"] = flat(Design(), definition, studies, 2.0)
    return rows


def _fits(studies: int) -> Rows:
    designs = {"8 x 5": Design(), "own error 10 %": Design(own=0.1), "sharpness 4": Design(sharpness=4.0)}
    return {name: seeds_only(design, studies) for name, design in designs.items()}


def _cells(studies: int) -> Rows:
    return {
        f"{truth:g} epochs, {seeds} seeds, noise {100 * spread:g} %": epochs_of_a_cell(
            truth, seeds, spread, ONCE, studies
        )
        for truth, seeds, spread in product((1.5, 2.0, 2.7), (2, 3, 5), (0.05, 0.1, 0.2))
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the rows, and write them as they come."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=300, help="studies per row")
    parser.add_argument("--only", default="", help="tables whose name holds these words; nothing is written then")
    options = parser.parse_args(arguments)
    done: dict[str, Rows] = {}
    for name, compute in tables(options.studies).items():
        if options.only not in name:
            continue
        done[name] = compute()
        print(name)
        for label, numbers in done[name].items():
            print(f"  {label:62}", "  ".join(f"{key} {value:.3f}" for key, value in numbers.items()), flush=True)
        if not options.only:
            write("coverage", {"machine": describe("scipy"), "studies": options.studies, "rows": plain(done)})


if __name__ == "__main__":
    main()
