"""The definitions and theorems of Chen et al. 2018 as claims, answered by closed forms and the simulation."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from typing import Any

from batchscope.analysis.formatting import number
from batchscope.architectures import solve_width
from batchscope.architectures.architecture import ACTIVATIONS
from batchscope.recipes import chen2018 as recipes
from batchscope.recipes.panels import BUDGET
from batchscope.theory import chen2018
from reproduction.evidence import FAILS, HOLDS, IN_PART, RESULTS, Answer, claim, together

CLASSES = {"MNIST": 10, "EMNIST": 47}


@claim("D1", "mini-batch SGD with replacement, the step size multiplies the sum (Eq. 3.1)")
def _d1() -> Answer:
    return Answer(
        '`sampling = "with_replacement"`; the step size of a study is for the mean, `sum_step_size` for the sum. The '
        "figures' runs go through the data in a new order every epoch, as Keras does; Lemma 1's draw with replacement",
        HOLDS,
        "definition",
    )


@claim("D2", "gradient diversity and the bound B_S = n Δ_S (Definition 1)")
def _d2() -> Answer:
    return Answer("`bs.measure`: equal to a loop over examples, 1e-9 in float64 (tests/gradients)", HOLDS, "definition")


@claim("N1", "fully-connected nets, linear and not (tanh, softsign, arctan, ReLU), on realisable labels")
def _n1() -> Answer:
    kinds = ", ".join(name for name in ACTIVATIONS if name != "linear")
    return Answer(
        f"`fully_connected` with {kinds}, and `linear`; labels of a teacher network (`synthetic`). Closed form and "
        "measured gradients agree (tests/agreement)",
        HOLDS,
        "definition",
    )


@claim(
    "P1",
    "d K + (L - 1) K² + K d_out = p: 17 units at ten layers in Figure 3(b), 21 to 17 in 3(c); batch sizes 32 to 4096, "
    "two-epoch rule, five runs",
)
def _p1() -> Answer:
    study = recipes.figure3("b")
    assert study.budget is not None
    assert study.depths is not None
    of = {name: [solve_width(study.budget, L, 784, d_out) for L in study.depths] for name, d_out in CLASSES.items()}
    widths = "; ".join(f"{name} K = {', '.join(map(str, found))}" for name, found in of.items())
    as_told = [of["MNIST"][-1] == 17, (of["EMNIST"][0], of["EMNIST"][-1]) == (21, 17)]
    return Answer(
        f"{widths} for L = {study.depths[0]} to {study.depths[-1]} at {study.budget} weights, so 20 for the "
        f"text's 21 in 3(c); B = {study.batch_sizes[0]} to {study.batch_sizes[-1]}; protocol "
        f"`{study.protocol}`; {study.num_seeds} seeds",
        together(HOLDS if one else FAILS for one in as_told),
        "definition; p = 2^14 for 16k, which Table 1 does not give exactly",
    )


@claim("T1", "two-layer linear nets: B_S at least of order nKd / (Kn + dn + Kd), which grows with K (Theorem 1)")
def _t1() -> Answer:
    n, d, widths = 60_000, 784, (5, 20, 80, 320)
    values = [float(chen2018.diversity_ratio((d, width, 1), num_examples=n)) for width in widths]
    over = [value * (K * n + d * n + K * d) / (n * K * d) for value, K in zip(values, widths, strict=True)]
    drawn = [_drawn()["linear", 2, width] for width in (5, 20, 80)]
    least = [line["quantiles_5_50_95"][0] * (line["width"] + 100) / (100 * line["width"]) for line in drawn]
    return Answer(
        f"exact ratio of expectations at d = 784, n = 60 000, K = 5, 20, 80, 320: {_listed(values)}, {_listed(over)} "
        f"times the form; B_S of 95 % of {drawn[0]['networks']} nets drawn, d = 100, n without end, K = 5, 20, 80: at "
        f"least {_listed(least)} times",
        HOLDS if values == sorted(values) and min(*over, *least) > 1 else FAILS,
        "N(0, 1) weights; the theorem has any of bounded moments",
    )


def _listed(values: Iterable[float]) -> str:
    return ", ".join(map(number, values))


@functools.cache
def _drawn() -> dict[tuple[str, int, int], dict[str, Any]]:
    """(kind, weight matrices, width) -> B_S of nets drawn at random, from results/conjecture.json."""
    lines = json.loads((RESULTS / "conjecture.json").read_text())["lines"]
    return {(line["kind"], line["num_matrices"], line["width"]): line for line in lines}


@claim("T2", "two-layer nets, odd bounded activation: at least of order Kd²/(Kd + K + d) (Theorem 2)")
def _t2() -> Answer:
    def over(width: int, d: int) -> float:
        return float(chen2018.two_layer_ratio("tanh", width, d) / chen2018.theorem2_form(width, d))

    narrow, wide = [over(1, d) for d in (10, 100, 1000)], [over(K, 100) for K in (1, 16, 256)]
    falls, grows = narrow == sorted(narrow, reverse=True), wide == sorted(wide)
    return Answer(
        f"tanh, exact ratio over the form: K = 1, 16, 256 at d = 100: {_listed(wide)}; K = 1 at d = 10, 100, 1000: "
        f"{_listed(narrow)}, which falls, so no constant serves all d",
        HOLDS if not falls else IN_PART if grows else FAILS,
        "N(0, 1) weights; with K at a given d, not with d at a given K: docs/theory.md",
    )


@claim("T2, T3: conjecture", "B_S concentrates, so that the ratio of expectations stands for it")
def _conjecture() -> Answer:
    off = {key: line["mean"] / line["rho"] for key, line in _drawn().items()}
    spread = {key: line["coefficient_of_variation"] for key, line in _drawn().items()}
    near = sum(1 / 1.1 < times < 1.1 for times in off.values())
    shapes = {
        "two layers, K = 80 (linear)": ("linear", 2, 80),
        "the same with tanh": ("tanh", 2, 80),
        **{f"ten matrices, K = {width}": ("linear", 10, width) for width in (80, 20, 5)},
    }
    text = "; ".join(f"{words} {number(off[key])}, {100 * spread[key]:.0f} %" for words, key in shapes.items())
    count = _drawn()["linear", 2, 80]["networks"], _drawn()["tanh", 2, 80]["networks"]
    return Answer(
        f"mean B_S over rho, and standard deviation of B_S: {text} (n = {count[0]} nets a shape, tanh {count[1]}); the "
        f"mean is within 10 % of rho in {near} of {len(off)} shapes",
        HOLDS if near == len(off) else IN_PART if near else FAILS,
        "wide or shallow; not deep and narrow (d = 100)",
    )


@claim("T3", "deep linear nets: rho at least the bound (4.1), for large n (Theorem 3)")
def _t3() -> Answer:
    shape = (784, 20, 20, 1)
    rho, bound = chen2018.diversity_ratio(shape), chen2018.theorem3_bound(shape)
    sharp = chen2018.sharp_bound(shape)
    values = [number(float(value)) for value in (rho, bound, sharp)]
    return Answer(
        f"784-20-20-1: rho {values[0]}, the bound {values[1]}, a sharper one {values[2]}",
        HOLDS if rho >= bound else FAILS,
        "N(0, 1) weights",
    )


@claim("T3a, T3b, T3d", "the ratio grows with K, falls with L, and wider is larger at a fixed number of weights")
def _t3abd() -> Answer:
    def ratio(width: int, depth: int) -> float:
        return float(chen2018.diversity_ratio((784, *(width,) * depth, 1)))

    over_widths, over_depths = [ratio(K, 3) for K in (5, 20, 80, 320)], [ratio(20, L) for L in (1, 3, 10)]
    equal = [ratio(solve_width(BUDGET, L, 784, 1), L) for L in (1, 3, 10)]
    as_said = over_widths == sorted(over_widths) and all(x == sorted(x, reverse=True) for x in (over_depths, equal))
    wider, deeper, at_equal = (", ".join(map(number, values)) for values in (over_widths, over_depths, equal))
    return Answer(
        f"rho at d = 784: three hidden layers of K = 5, 20, 80, 320: {wider}; 1, 3, 10 of K = 20: {deeper}; 1, 3, 10 "
        f"of {BUDGET} weights: {at_equal}. Proved for N(0, 1) weights; with fan-in scales it falls "
        "with K until K = √d",
        IN_PART if as_said else FAILS,
        "docs/theory.md",
    )


@claim("T3c", "the ratio is never above order d, and has no limit below")
def _t3c() -> Answer:
    narrow = float(chen2018.diversity_ratio((784, *(2,) * 200, 1)))
    return Answer(
        f"never above d + 2; never below 3 either: 200 layers of K = 2 have {number(narrow)}", IN_PART, "docs/theory.md"
    )
