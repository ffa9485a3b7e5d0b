"""Tables of a page that stand beside charts: fits, slopes of step sizes, thresholds."""

from __future__ import annotations

import math

from batchscope.analysis import CriticalBatchFit
from batchscope.analysis.digest import Digest
from batchscope.analysis.formatting import bounds_text, number
from batchscope.analysis.tuning import step_size_trends
from batchscope.report import words
from batchscope.report.charts.chart import Table

FIT_HEADS = (
    "shape",
    "B_crit",
    "95 % (both)",
    "95 % (seeds)",
    "S_min (steps)",
    "E_min (epochs)",
    "lack of fit p",
    "n (runs)",
    "censored",
    "diverged",
    "note",
)
FIT_CAPTION = (
    "steps = S_min (1 + B_crit/B) by censored likelihood: a target counts as met between two checks, runs out of "
    "epochs as not yet met, diverged runs as slower than those that arrived. Intervals: over batch sizes and seeds, "
    "and over seeds only. Lack of fit: small p, the curve does not describe the runs."
)
SLOPES = "step size ~ B^slope by least squares over batch sizes; 1 is the linear rule, 0.5 the square-root rule."


def fit_table(one: Digest) -> Table:
    """The critical-batch fit of every shape."""
    return Table(FIT_HEADS, tuple(_fit_line(shape, one, fitted) for shape, fitted in one.fits.items()), FIT_CAPTION)


def _fit_line(shape: str, one: Digest, fitted: CriticalBatchFit) -> tuple[str, ...]:
    e_min, low, high = (end / one.sweeps[shape].num_examples for end in (fitted.e_min, *fitted.e_min_interval))
    return (
        shape,
        fitted.text,
        bounds_text(fitted.interval) or "-",
        bounds_text(fitted.interval_seeds) or "-",
        _positive(fitted.s_min, fitted.s_min_interval),
        _positive(e_min, (low, high)),
        number(fitted.misfit),
        str(fitted.n),
        str(fitted.num_censored),
        str(fitted.num_diverged),
        fitted.statement,
    )


def _positive(value: float, interval: tuple[float, float]) -> str:
    """A quantity above 0: "12 [10, 31]"; "- [no lower bound, 31]" where it is only bounded."""
    return f"{number(value) if 0 < value < math.inf else '-'} {bounds_text(interval)}".strip()


def slopes_table(one: Digest) -> Table:
    """The slope of log step size against log batch size for every shape."""
    lines = tuple(
        (trend.shape, number(trend.slope), _interval(trend.interval), str(trend.n))
        for trend in step_size_trends(one.tuning)
    )
    return Table(("shape", "slope", "95 % interval (Student t)", "n (batch sizes)"), lines, SLOPES)


def _interval(interval: tuple[float, float]) -> str:
    return "-" if any(map(math.isnan, interval)) else f"[{number(interval[0])}, {number(interval[1])}]"


def thresholds_table(one: Digest, empty: str) -> Table:
    """The largest safe batch of every shape; empty: what to say without any."""
    lines = tuple(
        (
            shape,
            estimate.text,
            estimate.interval_text or "-",
            f"{estimate.n} at {estimate.num_batch_sizes} batch sizes",
            estimate.statement,
        )
        for shape, estimate in one.thresholds.items()
    )
    meanings = (f"{e.definition}: {e.meaning}. Interval: 95 %." for e in one.thresholds.values())
    heads = ("shape", "largest safe batch B*", "95 % interval", "n (runs)", "note")
    return Table(heads, lines, next(meanings, empty))


def ratios_table(one: Digest) -> Table:
    """Epochs of wide and deep at every common batch size, and their ratio."""
    return Table(
        words.RATIOS_HEADS,
        tuple(words.ratio_lines(one)),
        f"{words.RATIOS_TITLE}. {words.ratios_meaning(one.epoch_ratios)}",
    )


def exploratory_table(one: Digest) -> Table:
    """Wide against deep at equal steps, at equal FLOPs and by other definitions."""
    caption = f"{words.EXPLORATORY_TITLE}. {words.exploratory_meaning(one.exploratory)}"
    return Table(words.EXPLORATORY_HEADS, tuple(words.exploratory_lines(one.exploratory)), caption)
