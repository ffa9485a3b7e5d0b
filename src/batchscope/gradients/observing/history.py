"""What is known of a step: moments per parameter, and the noise scale that follows from them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batchscope.gradients.estimands import (
    Moments,
    NoiseEstimate,
    grouped_estimate,
    unbiased_sq_norm_mean,
    unbiased_trace_covariance,
)
from batchscope.gradients.observing.curve import NoiseWindow
from batchscope.records.csv_text import csv_lines
from batchscope.writing import replaced


@dataclass(frozen=True)
class StepMoments(Moments):
    """Moments of the examples of one training step.

    by_parameter: name -> Moments. population: number of examples that the step's were drawn from without replacement.
    """

    by_parameter: Mapping[str, Moments] = field(default_factory=dict)
    population: float = math.inf

    @property
    def noise(self) -> NoiseEstimate:
        """Unbiased ‖E g‖² and tr Σ of the distribution the step's examples were drawn from."""
        numbers = self.num_examples, self.sum_sq_norms, self.sq_norm_sum, max(self.population, self.num_examples)
        return NoiseEstimate(unbiased_sq_norm_mean(*numbers), unbiased_trace_covariance(*numbers))

    @property
    def basis(self) -> str:
        """What the numbers are made of."""
        return "per-example gradients"


@dataclass(frozen=True)
class GroupMoments(StepMoments):
    """Moments of a step whose examples influence each other (BatchNorm in training mode): per-example gradients do not
    exist, so `sum_sq_norms` is NaN, but the gradients of groups do, and `noise` follows from them.

    sizes: b_k, examples of each group. group_sq_norms: sum_k b_k ‖ḡ_k‖², ḡ_k a group's mean gradient.
    source: what the groups were.
    """

    sizes: tuple[int, ...] = ()
    group_sq_norms: float = math.nan
    source: str = ""

    @property
    def noise(self) -> NoiseEstimate:
        """Unbiased estimates for batches of the groups' size: statistics of a batch are those of its own group."""
        return grouped_estimate_of(self.sizes, self.group_sq_norms, self.sq_norm_sum, self.population)

    @property
    def basis(self) -> str:
        """What the numbers rest on, in words."""
        return f"gradients of {len(self.sizes)} groups of {_sizes(self.sizes)} examples: {self.source}"


def grouped_estimate_of(
    sizes: tuple[int, ...], group_sq_norms: float, sq_norm_sum: float, population: float
) -> NoiseEstimate:
    """`grouped_estimate` from sum_k b_k ‖ḡ_k‖² alone."""
    total = sum(sizes)
    equal = [group_sq_norms / total] * len(sizes) if total else []
    return grouped_estimate(sizes, equal, sq_norm_sum, population=max(population, total))


def packed(history: Mapping[int, StepMoments]) -> list[dict[str, Any]]:
    """What `unpacked` makes the history of again, without what it says by parameter: plain numbers, for checkpoints."""
    return [
        {
            "step": step,
            "population": moments.population if math.isfinite(moments.population) else None,
            **{name: getattr(moments, name) for name in _packed_names(moments)},
        }
        for step, moments in history.items()
    ]


def unpacked(records: Iterable[Mapping[str, Any]]) -> dict[int, StepMoments]:
    """The history that `packed` wrote down. KeyError, TypeError for anything else."""
    return {int(record["step"]): _unpacked(record) for record in records}


def _unpacked(record: Mapping[str, Any]) -> StepMoments:
    kind = GroupMoments if "group_sq_norms" in record else StepMoments
    values = {name: value for name, value in record.items() if name not in ("step", "population")}
    if kind is GroupMoments:  # NaN is not JSON
        values |= {"sum_sq_norms": math.nan, "sizes": tuple(values["sizes"])}
    population = record["population"]
    return kind(**values, population=math.inf if population is None else population)


def _packed_names(moments: StepMoments) -> tuple[str, ...]:
    if isinstance(moments, GroupMoments):
        return ("num_examples", "sq_norm_sum", "sizes", "group_sq_norms", "source")
    return ("num_examples", "sum_sq_norms", "sq_norm_sum")


HEADS = (
    "step", "num_examples", "sum_sq_norms", "sq_norm_sum", "gradient_diversity", "batch_size_bound", "sq_norm_mean",
    "trace_covariance", "window_first", "window_last", "noise_scale", "low", "high", "basis",
)  # fmt: skip


def write_csv(path: str | Path, history: Mapping[int, StepMoments], windows: tuple[NoiseWindow, ...]) -> None:
    """One line per observed step, with the window it belongs to; NaN and infinite numbers are left empty."""
    lines = [_line(step, moments, windows) for step, moments in history.items()]
    with replaced(path) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        for table in ([HEADS], lines) if lines else ([HEADS],):
            file.write(csv_lines(list(zip(*table, strict=True))))


def _line(step: int, moments: StepMoments, windows: tuple[NoiseWindow, ...]) -> tuple[object, ...]:
    window = next((w for w in windows if w.first <= step <= w.last), None)
    noise = moments.noise
    of_window = [window.first, window.last, window.value, window.low, window.high] if window else [None] * 5
    return (
        step, moments.num_examples, moments.sum_sq_norms, moments.sq_norm_sum, moments.gradient_diversity,
        moments.batch_size_bound, noise.sq_norm_mean, noise.trace_covariance, *of_window, moments.basis,
    )  # fmt: skip


def draw(windows: tuple[NoiseWindow, ...], axes: Any = None) -> Any:
    """The noise scale against steps, logarithmic: a bar per window, arrows for "at least". Returns the axes."""
    import matplotlib.pyplot as plt

    axes = plt.subplots()[1] if axes is None else axes
    for window in windows:
        if math.isnan(window.low):
            continue
        span = [window.first, window.last]
        if window.high == math.inf:
            axes.annotate(
                "",
                xy=(sum(span) / 2, 2 * window.low),
                xytext=(sum(span) / 2, window.low),
                arrowprops={"arrowstyle": "->"},
            )
            axes.plot(span, [window.low] * 2, color="C0", linestyle=":")
        else:
            axes.fill_between(span, window.low, window.high, color="C0", alpha=0.25, linewidth=0)
            axes.plot(span, [window.value] * 2, color="C0")
    axes.set(xlabel="step", ylabel="noise scale (examples)", yscale="log")
    return axes


def _sizes(sizes: tuple[int, ...]) -> str:
    return str(sizes[0]) if len(set(sizes)) == 1 else f"{min(sizes)} to {max(sizes)}"
