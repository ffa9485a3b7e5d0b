"""Is `gisette_like` made up like Gisette? Its marginals beside those of the 168 real rows that are at hand.

    python -m reproduction.gisette      a minute; needs the real rows (BATCHSCOPE_DATA); writes results/gisette.json

A stand-in may be used for what these numbers say only: how full and how large the entries are, how features and rows
differ, how much of the variance one direction has, and how hard the classes are to tell apart.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from batchscope.data.load import load
from reproduction.command import ended
from reproduction.evidence import RESULTS

OUT = RESULTS / "gisette.json"
ROWS = 168  # of Gisette that are at hand
DRAWS = 5  # stand-ins, each with features of its own
FOLDS, RIDGE = 12, 1.0  # ridge: in units of the mean eigenvalue of the rows' inner products
Numbers = NDArray[np.float64]


def marginals(inputs: Numbers, labels: NDArray[np.int64]) -> dict[str, float]:
    """Name -> number, of rows [n, 5000] of whole numbers 0..999 and their classes [n]."""
    inked = inputs > 0
    rates = np.quantile(inked.mean(axis=0), (0.25, 0.5, 0.75, 0.9))
    values = np.quantile(inputs[inked], (0.25, 0.5, 0.75))
    return {
        "entries not 0 (%)": 100 * float(inked.mean()),
        **{f"{name} of the entries not 0": float(one) for name, one in zip(QUARTILES, values, strict=True)},
        **{f"features' rates, {name}": float(one) for name, one in zip((*QUARTILES, "90 %"), rates, strict=True)},
        "features that are 0 in all rows": float((~inked.any(axis=0)).sum()),
        "rows' rates, standard deviation": float(inked.mean(axis=1).std()),
        "variance in one direction (%)": 100 * first_share(inputs),
        "ridge classifier, accuracy on rows left out (%)": 100 * left_out_accuracy(inputs, labels),
    }


QUARTILES = ("lower quartile", "median", "upper quartile")


def first_share(inputs: Numbers) -> float:
    """Share of the variance in the first principal component."""
    centred = inputs - inputs.mean(axis=0)
    values = np.linalg.eigvalsh(centred @ centred.T)
    return float(values[-1] / values.sum())


def left_out_accuracy(inputs: Numbers, labels: NDArray[np.int64]) -> float:
    """Accuracy of ridge regression on the class, by cross-validation over every twelfth row."""
    inner, signs, fold = inputs @ inputs.T, 2.0 * labels - 1, np.arange(len(labels)) % FOLDS
    inner /= np.trace(inner) / len(labels)
    right = 0
    for out in range(FOLDS):
        kept = fold != out
        weights = np.linalg.solve(inner[np.ix_(kept, kept)] + RIDGE * np.eye(kept.sum()), signs[kept])
        right += int((np.sign(inner[np.ix_(~kept, kept)] @ weights) == signs[~kept]).sum())
    return right / len(labels)


def of_set(name: str, seed: int = 0) -> dict[str, float]:
    """The marginals of the first 168 rows of a data set; seed: of one that is generated."""
    if name == "gisette_like":
        found = load(name, standardise="none", seed=seed, num_examples=ROWS, num_heldout=2)
    else:
        found = load(name, standardise="none")
    return marginals(np.asarray(found.inputs[:ROWS], dtype=np.float64), np.asarray(found.targets[:ROWS]))


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args(words)
    real, stand_ins = of_set("gisette"), [of_set("gisette_like", seed) for seed in range(DRAWS)]
    both = {"rows": ROWS, "real": real, "stand_ins": stand_ins}
    arguments.out.write_text(json.dumps(both, indent=1) + "\n", encoding="utf-8")
    for name, value in real.items():
        print(f"{name:50s} {value:8.4g}   {', '.join(f'{one[name]:.4g}' for one in stand_ins)}")


if __name__ == "__main__":
    raise SystemExit(ended("gisette", main))
