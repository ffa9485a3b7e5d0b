"""The definitions and theorems of Chen et al. 2018 as claims, answered by closed forms and the simulation."""

from __future__ import annotations

import json

from batchscope.analysis.formatting import number
from batchscope.theory import chen2018
from reproduction.evidence import FAILS, HOLDS, IN_PART, RESULTS, Answer, claim


@claim("D1", "mini-batch SGD with replacement, the step size multiplies the sum (Eq. 3.1)")
def _d1() -> Answer:
    return Answer('`sampling = "with_replacement"`; the step size of a study is for the mean', HOLDS, "definition")


@claim("D2", "gradient diversity and the bound B_S = n Δ_S (Definition 1)")
def _d2() -> Answer:
    return Answer("`bs.measure`: equal to a loop over examples, 1e-9 in float64 (tests/gradients)", HOLDS, "definition")


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
    return Answer(
        "proved for N(0, 1) weights; with fan-in scales it falls with K until K = √d", IN_PART, "docs/theory.md"
    )


@claim("T3c", "the ratio is never above order d, and can be arbitrarily small")
def _t3c() -> Answer:
    narrow = float(chen2018.diversity_ratio((784, *(2,) * 200, 1)))
    return Answer(
        f"never above d + 2; never below 3 either: 200 layers of K = 2 have {number(narrow)}", IN_PART, "docs/theory.md"
    )
