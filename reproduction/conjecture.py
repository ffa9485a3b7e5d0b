"""Does the batch-size bound concentrate? The conjecture behind Theorems 2 and 3 of Chen et al. 2018, by simulation.

The theorems bound a ratio of expectations, rho = E[n Σ‖g_i‖²] / E[‖Σg_i‖²]; the batch size that a network bears depends
on the ratio itself, B_S = n Σ‖g_i‖² / ‖Σg_i‖², of the weights at hand. For random networks of each shape: the mean of
B_S against rho, and how far single networks lie apart.

    python -m reproduction.conjecture            about a minute; writes results/conjecture.json
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchscope.theory import chen2018
from batchscope.theory.linear import limit_given_weights
from reproduction.command import ended
from reproduction.evidence import RESULTS

D = 100  # inputs
WIDTHS = (5, 20, 80)
MATRICES = (2, 3, 5, 10)  # L of Theorem 3: weight matrices
EXAMPLES = 2000  # of a data set, for the nonlinear nets; the linear ones are taken at n -> infinity
OUT = RESULTS / "conjecture.json"


def linear_bound(width: int, num_matrices: int, rng: np.random.Generator) -> float:
    """B_S at n -> infinity of one linear network, weights and teacher N(0, 1)."""
    sizes = (D, *(width,) * (num_matrices - 1), 1)

    def draw() -> list[NDArray[np.float64]]:
        return [rng.standard_normal((after, before)) for before, after in itertools.pairwise(sizes)]

    teacher = np.eye(D)
    for matrix in draw():
        teacher = matrix @ teacher
    return limit_given_weights(draw(), teacher)


def tanh_bound(width: int, rng: np.random.Generator) -> float:
    """B_S of one two-layer tanh network on EXAMPLES examples, weights and teacher N(0, 1), loss ½(ŷ - y)²."""
    x = rng.standard_normal((EXAMPLES, D))
    (w1, w2), (t1, t2) = ((rng.standard_normal((width, D)), rng.standard_normal(width)) for _ in range(2))
    hidden = np.tanh(x @ w1.T)
    error = hidden @ w2 - np.tanh(x @ t1.T) @ t2
    back = error[:, None] * (w2 * (1 - hidden**2))  # [N, K]: dL/d(pre-activation)
    squares = error**2 * np.sum(hidden**2, axis=1) + np.sum(back**2, axis=1) * np.sum(x**2, axis=1)
    total = np.sum((error @ hidden) ** 2) + np.sum((back.T @ x) ** 2)
    return float(EXAMPLES * squares.sum() / total)


def summary(kind: str, width: int, num_matrices: int, rho: float, bounds: NDArray[np.float64]) -> dict[str, Any]:
    """rho beside the distribution of B_S over networks."""
    low, middle, high = np.quantile(bounds, (0.05, 0.5, 0.95))
    return {
        "kind": kind,
        "width": width,
        "num_matrices": num_matrices,
        "networks": len(bounds),
        "rho": rho,
        "mean": float(bounds.mean()),
        "mean_error": float(bounds.std(ddof=1) / np.sqrt(len(bounds))),
        "quantiles_5_50_95": [float(low), float(middle), float(high)],
        "coefficient_of_variation": float(bounds.std(ddof=1) / bounds.mean()),
    }


def simulate(networks: int, seed: int) -> list[dict[str, Any]]:
    """One line for each shape, linear and tanh."""
    rng = np.random.default_rng(seed)
    lines = []
    for num_matrices, width in itertools.product(MATRICES, WIDTHS):
        bounds = np.array([linear_bound(width, num_matrices, rng) for _ in range(networks)])
        rho = chen2018.diversity_ratio((D, *(width,) * (num_matrices - 1), 1))
        lines.append(summary("linear", width, num_matrices, float(rho), bounds))
    for width in WIDTHS:
        bounds = np.array([tanh_bound(width, rng) for _ in range(max(networks // 10, 2))])
        rho = chen2018.two_layer_ratio("tanh", width, D, EXAMPLES)
        lines.append(summary("tanh", width, 2, float(rho), bounds))
    return lines


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=4000, help="of each linear shape; a tenth of it for tanh")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args(words)
    lines = simulate(arguments.networks, arguments.seed)
    for line in lines:
        low, middle, high = line["quantiles_5_50_95"]
        print(
            f"{line['kind']:7s} L={line['num_matrices']:2d} K={line['width']:2d}  rho {line['rho']:7.2f}  mean B_S "
            f"{line['mean']:7.2f} ± {line['mean_error']:.2f}  5-50-95 %: {low:.1f} {middle:.1f} {high:.1f}"
        )
    arguments.out.write_text(json.dumps({"seed": arguments.seed, "inputs": D, "lines": lines}, indent=1) + "\n")


if __name__ == "__main__":
    raise SystemExit(ended("conjecture", main))
