"""`bs.schedule`: a batch size along training, from the noise scale along training. No torch.

Two rules, both of McCandlish et al. (2018), who train with batches that follow the noise scale. At one moment of
training a step of B examples makes progress in proportion to 1/(1 + B_noise/B), so the same progress takes
1 + B_noise/B steps and B + B_noise examples (in units of the fewest steps).

    share:     B = share * B_noise. Examples then cost 1 + share times the fewest at every moment; 1 is their B_crit.
    exchange:  B = sqrt(r * B_noise), r examples being worth as much as one step: the minimum of
               (B + B_noise) + r (1 + B_noise/B) over B.

A batch that grows stands in for a step size that falls (Smith et al. 2018, "Don't decay the learning rate, increase the
batch size"), so the step size is left as it is and a batch is never made smaller, unless asked for.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchscope.analysis.formatting import batch_size, number, rendered, text_table
from batchscope.analysis.noise_advice import NoiseLike, noise_text
from batchscope.errors import InputError
from batchscope.theory.mccandlish2018 import step_efficiency


@dataclass(frozen=True)
class BatchRule:
    """How large a batch should be at a noise scale.

    share: B = share * B_noise. exchange: instead, B = sqrt(exchange * B_noise): how many examples one step is worth.
    most: of examples in a batch. only_grow: never make a batch smaller than it was (Smith et al. 2018).
    InputError for numbers that are not above 0.
    """

    share: float = 1.0
    exchange: float | None = None
    most: float = math.inf
    only_grow: bool = True

    def __post_init__(self) -> None:
        for name in ("share", "exchange", "most"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"{name} = {value!r}; expected a number above 0")

    def batch_size(self, noise: NoiseLike) -> float:
        """Examples in a batch; NaN where the noise scale is unknown, from its low end where that is all there is."""
        known = noise.value if noise.value > 0 else noise.low
        wanted = self.share * known if self.exchange is None else math.sqrt(self.exchange * known)
        return min(wanted, self.most) if known > 0 else math.nan

    def accumulation(self, noise: NoiseLike, micro_batch: float, current: int = 1) -> int:
        """Micro-batches in a step: the power of two next below the rule's batch size (so that it does not flicker).

        micro_batch: examples in one, over all processes. current: what it is now, kept where nothing is known.
        """
        wanted = self.batch_size(noise)
        if math.isnan(wanted):
            return current
        power = 1 << max(0, math.floor(math.log2(wanted / micro_batch) + 1e-9))
        return max(power, current) if self.only_grow else power

    @property
    def words(self) -> str:
        """The rule, for tables."""
        rule = f"{number(self.share)} B_noise" if self.exchange is None else f"sqrt({number(self.exchange)} B_noise)"
        bound = f", at most {number(self.most)}" if math.isfinite(self.most) else ""
        return f"B = {rule}{bound}{', never smaller than before' if self.only_grow else ''} (McCandlish et al. 2018)"


@dataclass(frozen=True)
class ScheduleStretch:
    """The steps from `first` to `last` of a run and what the rule gives them.

    noise: their noise scale. batch_size: examples, `accumulation` micro-batches. extra_examples, extra_steps: B/B_noise
    and B_noise/B, what they cost beyond the fewest. step_size: the best one as a share of the full batch's,
    1/(1 + B_noise/B): what a step size that follows the batch would be multiplied by.
    """

    first: int
    last: int
    noise: NoiseLike
    batch_size: float
    accumulation: int

    @property
    def extra_examples(self) -> float:
        """B/B_noise: examples beyond the fewest, in units of these (McCandlish et al. 2018, Section 2.3)."""
        return self.batch_size / self._noise_scale

    @property
    def extra_steps(self) -> float:
        """B_noise/B: steps beyond the fewest, in units of these (McCandlish et al. 2018, Section 2.3)."""
        return self._noise_scale / self.batch_size

    @property
    def step_size(self) -> float:
        """The best step size at B as a share of that of a very large batch: 1/(1 + B_noise/B) (McCandlish et al.
        2018, Section 2.2).
        """
        return step_efficiency(self.batch_size, self._noise_scale)

    @property
    def _noise_scale(self) -> float:
        return self.noise.value if self.noise.value > 0 else self.noise.low


@dataclass(frozen=True)
class BatchSchedule:
    """A suggestion: batch sizes along a run of the same kind as the one that was observed; print it.

    stretches: in order, without gaps in meaning: a step between two belongs to the earlier. micro_batch: examples.
    """

    stretches: tuple[ScheduleStretch, ...]
    micro_batch: int
    rule: BatchRule

    def accumulation_at(self, step: int) -> int:
        """Micro-batches of a step (0 is the first); before the first stretch, and after the last, those of the end."""
        known = [one.accumulation for one in self.stretches if one.first <= step]
        return known[-1] if known else self.stretches[0].accumulation

    def __str__(self) -> str:
        heads = ("steps", "noise scale", "batch", "accumulation", "extra examples", "extra steps", "step size x")
        lines = [
            (
                f"{one.first} to {one.last}", noise_text(one.noise), batch_size(one.batch_size), str(one.accumulation),
                f"{100 * one.extra_examples:.0f} %", f"{100 * one.extra_steps:.0f} %", number(one.step_size),
            )
            for one in self.stretches
        ]  # fmt: skip
        notes = (
            f"micro-batch {self.micro_batch}; {self.rule.words}; extra: beyond the fewest, at that moment",
            "step size x: the best one as a share of a full batch's, if it is to follow; left alone, the growing batch",
            "stands in for its decay (Smith et al. 2018)",
        )
        return "\n".join([rendered(text_table(heads, lines)), *notes])


def schedule(observed: Any, micro_batch: int, rule: BatchRule | None = None, **options: Any) -> BatchSchedule:
    """Suggest a batch size, as accumulation of micro-batches, for every stretch of a run that was observed.

    observed: what `bs.observe` gave, a trainer's callback, windows of `noise_scale_curve()`, or the path
    of a CSV that `to_csv` wrote. micro_batch: examples that are processed at once, over all processes. rule: see
    `BatchRule`; options: its fields instead (share=, exchange=, most=, only_grow=).

    Noise scales below the low end of what a window supports are not guessed: a window without estimate and interval
    keeps the batch before it. Raises InputError where no window gives a noise scale.
    """
    if micro_batch < 1:
        raise InputError(f"micro_batch = {micro_batch!r}; expected the examples processed at once, at least 1")
    rule = rule or BatchRule(**options)
    stretches: list[ScheduleStretch] = []
    for window in _windows(observed):
        current = stretches[-1].accumulation if stretches else 1
        if math.isnan(rule.batch_size(window)):
            continue
        count = rule.accumulation(window, micro_batch, current)
        stretches.append(ScheduleStretch(window.first, window.last, window, float(count * micro_batch), count))
    if not stretches:
        raise InputError(
            "no window of the run gives a noise scale; observe more steps (a smaller `every`, a longer run)"
        )
    return BatchSchedule(tuple(stretches), micro_batch, rule)


@dataclass(frozen=True)
class _ReadWindow:
    """A window as a CSV has it."""

    first: int
    last: int
    value: float
    low: float
    high: float


def _windows(observed: Any) -> Sequence[Any]:
    if isinstance(observed, str | Path):
        return _read(Path(observed))
    if hasattr(observed, "noise_scale_curve"):
        windows: Sequence[Any] = observed.noise_scale_curve()
        return windows
    if isinstance(observed, Iterable):
        return list(observed)
    raise InputError(
        f"observed is a {type(observed).__name__}: expected what bs.observe gave, its noise_scale_curve(), or a CSV"
    )


def _read(path: Path) -> list[_ReadWindow]:
    """The windows of a CSV of `to_csv`, one line per observed step."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = list(csv.DictReader(file))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}; expected a CSV of `to_csv`") from None
    needed = ("window_first", "window_last", "noise_scale", "low", "high")
    missing = [name for name in needed if lines and name not in lines[0]]
    if missing or not lines:
        raise InputError(f"{path} has {'no lines' if not lines else f'no column {missing[0]!r}'}: expected `to_csv`'s")
    found = {line["window_first"]: line for line in lines if line["window_first"]}
    return [
        _ReadWindow(int(line["window_first"]), int(line["window_last"]), *_numbers(line)) for line in found.values()
    ]


def _numbers(line: dict[str, str]) -> tuple[float, float, float]:
    """(value, low, high): an empty value or low is NaN; an empty high beside a low is "at least low"."""
    value, low, high = (float(line[name]) if line[name] else math.nan for name in ("noise_scale", "low", "high"))
    return value, low, math.inf if math.isnan(high) and not math.isnan(low) else high
