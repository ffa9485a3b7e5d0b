"""Question 6a: do the batches that shapes bear follow B_S at the start, where the initial weights turn its order round?

Five shapes of 4000 weights on the digits under four schemes. Ranks are compared two ways: over the shapes of one
scheme, and over the schemes of one shape.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from batchscope.analysis import batch_threshold, sweeps_of
from batchscope.analysis.formatting import number
from batchscope.studies import Results
from reproduction import small_studies
from reproduction.evidence import FAILS, HOLDS, IN_PART, WEIGHTS, Answer, claim
from reproduction.open_questions import Pooled, bound_at, pooled
from reproduction.small_studies import UNDER, WITHIN

EARLY = 2.0  # the first epoch after the start at which B_S is measured


@dataclass(frozen=True)
class Net:
    """One shape under one scheme. start, early: geometric mean B_S (examples) of the initial nets, and after two epochs
    at the smallest batch size. largest: within 20 epochs, 0 or inf outside the sweep."""

    scheme: str
    depth: int
    start: float
    early: float
    largest: float


@functools.cache
def nets() -> tuple[Net, ...]:
    """All of them, scheme by scheme."""
    return tuple(
        net for scheme, rows in small_studies.named(WEIGHTS, "beyond-weights-").items() for net in _of(scheme, rows)
    )


def _of(scheme: str, rows: Results) -> list[Net]:
    largest = batch_threshold(rows, WITHIN)
    return [
        Net(scheme, one.depth, bound_at(one, 0.0), bound_at(one, EARLY), largest[shape].ordering)
        for shape, one in sweeps_of(rows).items()
    ]


def ranks(by: Callable[[Net], object], of: Callable[[Net], float], among: tuple[Net, ...] | None = None) -> Pooled:
    """The rank correlation of a number of a net with the largest batch, within groups alike in `by`."""
    groups: dict[object, list[Net]] = {}
    for net in nets() if among is None else among:
        if not math.isnan(of(net)):
            groups.setdefault(by(net), []).append(net)
    panels: Mapping[str, tuple[np.ndarray, np.ndarray]] = {
        str(key): (np.array([of(net) for net in group]), np.array([net.largest for net in group]))
        for key, group in groups.items()
    }
    return pooled(panels)


@claim("6a, weights", "(open) does the largest batch follow B_S at the start under other initial weights?", WEIGHTS)
def _weights() -> Answer:
    usual = tuple(net for net in nets() if net.scheme != "standard_normal")
    start, early = (ranks(_scheme, of, usual) for of in (start_of, early_of))
    over_schemes = ranks(_depth, start_of)
    drawn = tuple(net for net in nets() if net not in usual)
    normal, after = (ranks(_scheme, of, drawn) for of in (start_of, early_of))
    return Answer(
        "rank correlation with the largest batch within 20 epochs, over shapes under the three schemes in use: of B_S "
        f"at the start {start}, after two epochs {early}; under N(0, 1) weights {normal.rank:.2f} over {normal.n} "
        f"shapes at the start, {after.rank:.2f} over {after.n} after two epochs; over the four schemes of one shape, "
        f"at the start, {over_schemes}. {_orders()}",
        HOLDS if start.interval[0] > 0 else FAILS if start.interval[1] < 0 else IN_PART,
        UNDER.replace("4000 weights", "five shapes of 4000 weights, four schemes"),
    )


def _scheme(net: Net) -> str:
    return net.scheme


def _depth(net: Net) -> int:
    return net.depth


def start_of(net: Net) -> float:
    """B_S of its initial nets."""
    return net.start


def early_of(net: Net) -> float:
    """B_S after two epochs."""
    return net.early


def _orders() -> str:
    """How B_S at the start runs from wide to deep, scheme by scheme."""
    lines = []
    for scheme in dict.fromkeys(net.scheme for net in nets()):
        ours = [net for net in nets() if net.scheme == scheme]
        lines.append(f"{scheme} {', '.join(f'{number(round(net.start, 1))}' for net in ours)}")
    depths = ", ".join(str(net.depth) for net in nets()[:5])
    return f"B_S at the start, L = {depths}: {'; '.join(lines)}"
