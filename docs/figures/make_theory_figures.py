"""Draw the figures of docs/theory.md: `python docs/figures/make_theory_figures.py` (seeded; about 20 s).

Lines are closed forms; points are sampled networks: weights, teacher and data drawn, gradients written out in NumPy.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from batchscope.architectures import solve_width
from batchscope.theory import chen2018
from batchscope.theory.yin2018 import at_num_examples

HERE = Path(__file__).parent
BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#777777"
SCHEMES = {
    "standard_normal": ("N(0, 1)", BLUE),
    "fan_in": ("fan-in", ORANGE),
    "he": ("He", GREEN),
    "glorot": ("Glorot", RED),
}
NUM_EXAMPLES = 500


def equal(d: int, K: int, L: int) -> tuple[int, ...]:
    """Widths of a network with L weight matrices and L - 1 hidden layers of K units."""
    return (d, *[K] * (L - 1), 1)


def sampled_ratio(widths: Sequence[int]) -> tuple[float, float]:
    """rho(NUM_EXAMPLES) as a ratio of means over networks with N(0, 1) weights, and its standard error.

    Narrow networks get more draws: their gradients are heavy-tailed, and a ratio of few means comes out too large.
    """
    rng = np.random.default_rng([2018, *widths])
    draws = 150 if widths[1] > 50 else 1500
    sums = np.array([_sums(rng, widths) for _ in range(draws)])
    S1, Q = sums.T
    rho = NUM_EXAMPLES * S1.mean() / Q.mean()
    return rho, rho * np.std(S1 / S1.mean() - Q / Q.mean(), ddof=1) / math.sqrt(draws)


def _sums(rng: np.random.Generator, widths: Sequence[int]) -> tuple[float, float]:
    shapes = [(out, fan_in) for fan_in, out in itertools.pairwise(widths)]
    student, teacher = ([rng.standard_normal(shape) for shape in shapes] for _ in range(2))
    inputs = [rng.standard_normal((NUM_EXAMPLES, widths[0]))]
    for matrix in student:
        inputs.append(inputs[-1] @ matrix.T)
    target = inputs[0] @ np.linalg.multi_dot(teacher[::-1]).T
    delta, S1, Q = inputs.pop() - target, 0.0, 0.0
    for matrix, below in zip(reversed(student), reversed(inputs), strict=True):
        S1 += float(np.sum(delta**2, axis=1) @ np.sum(below**2, axis=1))
        Q += float(np.sum((delta.T @ below) ** 2))
        delta = delta @ matrix
    return S1, Q


def plot_samples(axes: Axes, x: Sequence[int], shapes: Sequence[Sequence[int]], color: str) -> None:
    values, errors = zip(*map(sampled_ratio, shapes), strict=True)
    axes.errorbar(x, values, [2 * error for error in errors], fmt="o", ms=4, color=color, capsize=2, lw=1, zorder=3)


def width_and_depth() -> Figure:
    """Exact ratio, sharper bound and paper's bound against width and against depth, with sampled networks."""
    d = 100
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.6, 4.0), sharey=True)
    widths = [int(K) for K in np.unique(np.geomspace(2, 1000, 60).astype(int))]
    colors = {2: BLUE, 5: ORANGE, 11: GREEN}
    for (L, color), sampled in zip(colors.items(), ((5, 20, 80, 300), (20, 80, 200), (50, 110, 220)), strict=True):
        lines(left, widths, [equal(d, K, L) for K in widths], color)
        plot_samples(left, sampled, [equal(d, K, L) for K in sampled], color)
    depths = list(range(2, 41))
    for K, color, sampled in ((200, BLUE, (2, 4, 8, 16)), (20, ORANGE, (2, 3, 4, 5))):
        lines(right, depths, [equal(d, K, L) for L in depths], color)
        plot_samples(right, sampled, [equal(d, K, L) for L in sampled], color)
        end = (40, chen2018.diversity_ratio(equal(d, K, 40), NUM_EXAMPLES))
        right.annotate(f"K = {K}", end, (4, -3), textcoords="offset points", fontsize=8, color=color)
    right.axhline(3, color=GREY, lw=1, ls=(0, (1, 2)))
    right.text(27, 2.25, "3, the limit of depth", color=GREY, fontsize=8)
    left.set(
        xscale="log", yscale="log", xlabel="units per hidden layer K", ylabel="ratio ρ(n), examples", xlim=(2, 1000)
    )
    right.set(xlabel="weight matrices L", xlim=(1, 45), ylim=(0.3, 130))
    left.set_title("wider: the ratio rises", loc="left")
    right.set_title("deeper: it falls to 3, the bounds to 0", loc="left")
    kinds = [plt.Line2D([], [], color=GREY, **style) for style in (EXACT, SHARP, PAPER)]
    kinds.append(plt.Line2D([], [], color=GREY, marker="o", ls="", ms=4))
    names = ["exact", "sharper bound", "paper's bound", "sampled networks, ± 2 s.e."]
    left.legend(kinds, names, loc="lower right", fontsize=8)
    by_depth = [plt.Line2D([], [], color=color, label=f"L = {L} matrices") for L, color in colors.items()]
    right.legend(handles=by_depth, title="left panel", loc="upper right", fontsize=8, title_fontsize=8)
    figure.suptitle(
        f"Deep linear networks, N(0, 1) weights, d = {d} inputs, n = {NUM_EXAMPLES} examples", x=0.01, ha="left"
    )
    return figure


EXACT, SHARP, PAPER = {"lw": 1.8}, {"lw": 1.2, "ls": (0, (5, 2))}, {"lw": 1.2, "ls": (0, (1, 1.5))}


def lines(axes: Axes, x: Sequence[int], shapes: Sequence[Sequence[int]], color: str) -> None:
    axes.plot(x, [chen2018.diversity_ratio(shape, NUM_EXAMPLES) for shape in shapes], color=color, **EXACT)
    sharp = [at_num_examples(chen2018.sharp_bound(shape), NUM_EXAMPLES) for shape in shapes]  # the law is increasing
    axes.plot(x, sharp, color=color, **SHARP)
    axes.plot(x, [chen2018.theorem3_bound(shape) for shape in shapes], color=color, **PAPER)


def budget() -> Figure:
    """Exact ratio along shapes of 16 000 weights, and with the width frozen: how much of the fall is depth alone."""
    p, depths = 16_000, list(range(1, 11))
    figure, panels = plt.subplots(1, 3, figsize=(9.6, 3.6), sharey=True)
    for axes, scheme in zip(panels, ("standard_normal", "fan_in", "glorot"), strict=True):
        for d, color in ((784, BLUE), (100, ORANGE), (50, GREEN)):
            widths = [solve_width(p, depth, d, 1) for depth in depths]
            shapes = [equal(d, K, depth + 1) for depth, K in zip(depths, widths, strict=True)]
            frozen = [equal(d, widths[0], depth + 1) for depth in depths]
            label = f"d = {d}: K = {widths[0]} to {widths[-1]}"
            axes.plot(
                depths,
                [chen2018.diversity_ratio(s, weight_std=scheme) for s in shapes],
                "o-",
                ms=4,
                color=color,
                label=label,
            )
            axes.plot(
                depths,
                [chen2018.diversity_ratio(s, weight_std=scheme) for s in frozen],
                color=color,
                lw=1,
                ls=(0, (4, 2)),
            )
        axes.set_title(f"{SCHEMES[scheme][0]} weights", loc="left")
        axes.set(yscale="log", xlabel="hidden layers", xticks=depths, ylim=(1.7, 1000))
    panels[0].set_ylabel("exact ratio ρ(∞), examples")
    panels[0].legend(fontsize=8, loc="lower left")
    panels[1].plot([], [], color=GREY, lw=1, ls=(0, (4, 2)), label="width kept at that of one layer")
    panels[1].legend(fontsize=8, loc="lower left")
    figure.suptitle(
        "Shapes of 16 000 weights: deeper is lower; at d = 784 almost all of it is depth", x=0.01, ha="left"
    )
    return figure


def initialisation() -> Figure:
    """Exact ratio against width per initialisation: only N(0, 1) is monotone; and which layer carries the gradient."""
    d = 784
    widths = np.unique(np.geomspace(1, 5000, 90).astype(int))
    figure, panels = plt.subplots(1, 3, figsize=(9.6, 3.6), width_ratios=(1, 1, 0.9))
    for axes, L in zip(panels, (2, 5), strict=False):
        for scheme, (name, color) in SCHEMES.items():
            if scheme == "he":  # a common factor of all layers changes nothing: He is fan-in
                continue
            ratios = [chen2018.diversity_ratio(equal(d, int(K), L), weight_std=scheme) for K in widths]
            axes.plot(widths, ratios, color=color, label="fan-in, He" if scheme == "fan_in" else name)
        axes.axvline(math.sqrt(d), color=GREY, lw=1, ls=(0, (1, 2)))
        axes.axhline(d + 2, color=GREY, lw=1, ls=(0, (1, 2)))
        axes.text(1.1, (d + 2) * 1.04, "d + 2", color=GREY, fontsize=8)
        axes.set(xscale="log", yscale="log", xlabel="units per hidden layer K", ylim=(2.5, 1300))
        axes.set_title(f"{L - 1} hidden layer{'s' * (L > 2)}", loc="left")
    panels[0].text(math.sqrt(d) * 1.1, 3, "K = √d", color=GREY, fontsize=8)
    panels[0].set_ylabel("exact ratio ρ(∞), examples")
    panels[0].legend(fontsize=8, loc="lower right")
    stacked_shares(panels[2], (784, 20, 20, 20, 1))
    figure.suptitle("The law “wider is more diverse” belongs to N(0, 1) weights", x=0.01, ha="left")
    return figure


def stacked_shares(axes: Axes, widths: Sequence[int]) -> None:
    shades = ["#084594", "#4292c6", "#9ecae1", "#deebf7"]
    ratios = chen2018.layer_ratios(widths)
    for column, scheme in enumerate(SCHEMES):
        below = 0.0
        for layer, share in enumerate(chen2018.layer_shares(widths, scheme)):
            label = f"layer {layer + 1}: ρ = {ratios[layer]:.0f}" if column == 0 else None
            axes.bar(column, share, bottom=below, color=shades[layer], width=0.7, label=label)
            below += share
        total = chen2018.diversity_ratio(widths, weight_std=scheme)
        axes.text(column, 1.02, f"{total:.0f}", ha="center", fontsize=8)
    axes.set_xticks(range(4), [name for name, _ in SCHEMES.values()], fontsize=8)
    axes.set(ylim=(0, 1.72), yticks=(0, 0.5, 1), ylabel="share of E‖g‖²")
    axes.legend(fontsize=8, loc="upper center", ncols=1)
    axes.set_title("784-20-20-20-1", loc="left")


def nonlinear() -> Figure:
    """Theorem 2 against the exact average: one unit and growing d; fixed d and growing width; a scaled first layer."""
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(9.6, 3.6))
    inputs = np.unique(np.geomspace(8, 1e5, 25).astype(int))
    units = np.unique(np.geomspace(1, 16384, 25).astype(int))
    for activation, color in (("tanh", BLUE), ("softsign", ORANGE), ("relu", GREEN)):
        ratio = chen2018.two_layer_ratio
        left.plot(inputs, [ratio(activation, 1, int(d)) for d in inputs], color=color, label=activation)
        middle.plot(units, [ratio(activation, int(K), 1000) for K in units], color=color)
        right.plot(units, [ratio(activation, int(K), 100, weight_std="fan_in") for K in units], color=color)
    left.plot(
        inputs, [chen2018.theorem2_form(1, int(d)) for d in inputs], color=GREY, ls=(0, (4, 2)), label="Kd²/(Kd+K+d)"
    )
    middle.plot(units, [chen2018.theorem2_form(int(K), 1000) for K in units], color=GREY, ls=(0, (4, 2)))
    right.plot(units, [chen2018.theorem2_form(int(K), 100) for K in units], color=GREY, ls=(0, (4, 2)))
    left.set(xscale="log", yscale="log", xlabel="inputs d", ylabel="exact ratio ρ(∞), examples")
    middle.set(xscale="log", yscale="log", xlabel="hidden units K")
    right.set(xscale="log", yscale="log", xlabel="hidden units K")
    for axes, title in (
        (left, "K = 1, N(0, 1) weights"),
        (middle, "d = 1000, N(0, 1) weights"),
        (right, "d = 100, fan-in weights"),
    ):
        axes.set_title(title, loc="left")
    left.legend(fontsize=8)
    figure.suptitle("Two-layer nonlinear networks against the growth Theorem 2 states", x=0.01, ha="left")
    return figure


FIGURES = {"width_depth": width_and_depth, "budget": budget, "initialisation": initialisation, "nonlinear": nonlinear}
STYLE = {
    "font.size": 9,
    "axes.titlesize": 9,
    "figure.titlesize": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
}


def main() -> None:
    for name, draw in FIGURES.items():
        with plt.rc_context(STYLE):
            figure = draw()
            figure.tight_layout()
            figure.savefig(HERE / f"theory_{name}.png", dpi=110, metadata={"Software": None})
            plt.close(figure)


if __name__ == "__main__":
    main()
