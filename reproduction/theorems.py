"""The definitions and theorems of Chen et al. 2018 as claims, answered by closed forms and the simulation."""

from __future__ import annotations

import json

from batchscope.analysis.formatting import number
from batchscope.architectures import solve_width
from batchscope.architectures.architecture import ACTIVATIONS
from batchscope.recipes import chen2018 as recipes
from batchscope.recipes.panels import BUDGET
from batchscope.theory import chen2018
from reproduction.evidence import FAILS, HOLDS, IN_PART, RESULTS, Answer, claim


@claim("D1", "mini-batch SGD with replacement, the step size multiplies the sum (Eq. 3.1)")
def _d1() -> Answer:
    return Answer('`sampling = "with_replacement"`; the step size of a study is for the mean', HOLDS, "definition")


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


@claim("P1", "d K + (L - 1) K² + K d_out = p gives K from 21 to 17 on MNIST; batch sizes 32 to 4096, two-epoch rule")
def _p1() -> Answer:
    study = recipes.figure3("b")
    assert study.budget is not None
    assert study.depths is not None
    widths = [solve_width(study.budget, depth, 784, 10) for depth in study.depths]
    return Answer(
        f"K = {', '.join(map(str, widths))} for L = {study.depths[0]} to {study.depths[-1]} at {study.budget} weights; "
        f"B = {study.batch_sizes[0]} to {study.batch_sizes[-1]}; protocol `{study.protocol}`",
        HOLDS if (widths[0], widths[-1]) == (21, 17) else FAILS,
        "definition",
    )


@claim("T1", "two-layer linear nets: B_S of order nKd / (Kn + dn + Kd), growing with K (Theorem 1)")
def _t1() -> Answer:
    values = [float(chen2018.diversity_ratio((784, width, 1), num_examples=60_000)) for width in (5, 20, 80, 320)]
    text = ", ".join(number(value) for value in values)
    verdict = HOLDS if values == sorted(values) else FAILS
    return Answer(f"exact ratio at d = 784, n = 60 000, K = 5, 20, 80, 320: {text}", verdict, "N(0, 1) weights")


@claim("T2", "two-layer nets, odd bounded activation: at least of order Kd²/(Kd + K + d) (Theorem 2)")
def _t2() -> Answer:
    ratios = [chen2018.two_layer_ratio("tanh", 1, d) / chen2018.theorem2_form(1, d) for d in (10, 100, 1000)]
    text = ", ".join(number(ratio) for ratio in ratios)
    return Answer(
        f"K = 1, tanh: exact ratio over the form at d = 10, 100, 1000: {text}; it falls, so no constant serves all d",
        IN_PART if ratios[0] > ratios[1] > ratios[2] else HOLDS,
        "N(0, 1) weights; docs/theory.md",
    )


@claim("T2, T3: conjecture", "B_S concentrates, so that the ratio of expectations stands for it")
def _conjecture() -> Answer:
    lines = json.loads((RESULTS / "conjecture.json").read_text())["lines"]
    at = {(line["kind"], line["num_matrices"], line["width"]): line for line in lines}

    def off(kind: str, num_matrices: int, width: int) -> str:
        line = at[kind, num_matrices, width]
        return number(line["mean"] / line["rho"])

    return Answer(
        f"mean B_S over rho: two layers, K = 80: {off('linear', 2, 80)} (linear), {off('tanh', 2, 80)} (tanh); ten "
        f"matrices: {off('linear', 10, 80)} at K = 80, {off('linear', 10, 20)} at K = 20, {off('linear', 10, 5)} at "
        f"K = 5 (n = {at['linear', 2, 80]['networks']} nets a shape, tanh {at['tanh', 2, 80]['networks']})",
        IN_PART,
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


@claim("T3c", "the ratio is never above order d, and can be arbitrarily small")
def _t3c() -> Answer:
    narrow = float(chen2018.diversity_ratio((784, *(2,) * 200, 1)))
    return Answer(
        f"never above d + 2; never below 3 either: 200 layers of K = 2 have {number(narrow)}", IN_PART, "docs/theory.md"
    )
