"""The report of a measurement: numbers, table, coverage and plan. Data only; it prints."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from torch import nn

from batchscope.errors import choose
from batchscope.gradients import parts as kinds
from batchscope.gradients.backward.collect import UNAVAILABLE, Measured, Result
from batchscope.gradients.backward.loop import LoopCost
from batchscope.gradients.backward.planner import KernelChoice
from batchscope.gradients.estimands import Moments
from batchscope.gradients.intervals import SampleEstimate, sample_interval
from batchscope.gradients.moments import GradientMoments

TABLES = ("module", "kind", "block")
# Effective examples below which an interval is flagged: where a few examples hold most of S1, the jackknife sees the
# spread of those few alone. From thirty on its 95 % intervals cover at least 90 % (`benchmarks/effective_examples.py`).
FEW_EFFECTIVE = 30
COLUMNS = ("sum of squared norms", "squared norm of sum", "diversity", "B_S")


@dataclass
class Coverage:
    """How each parameter was measured: name -> the ways, by kind of batch. frozen: not measured by choice."""

    ways: dict[str, list[Measured]] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    frozen: tuple[str, ...] = ()
    num_batches: int = 0

    @classmethod
    def start(cls, model: nn.Module) -> Coverage:
        """Of a model before its first batch."""
        shapes = {name: tuple(p.shape) for name, p in model.named_parameters() if p.requires_grad}
        frozen = tuple(name for name, p in model.named_parameters() if not p.requires_grad)
        return cls({name: [] for name in shapes}, shapes, frozen)

    def add(self, results: Mapping[str, Result]) -> None:
        """Note how the parameters of one more batch were measured."""
        self.num_batches += 1
        for name, result in results.items():
            how = (result.measured.rules, result.measured.kernel)
            if all((seen.rules, seen.kernel) != how for seen in self.ways[name]):
                self.ways[name].append(result.measured)

    @property
    def fallbacks(self) -> tuple[str, ...]:
        """Parameters that needed a slow way: without a rule (vmap), or by a loop over examples."""
        slow = {"vmap", "loop"}
        return tuple(
            name
            for name, ways in self.ways.items()
            if any(way.kernel in slow or slow.intersection(way.rules) for way in ways)
        )

    @property
    def unmeasured(self) -> tuple[str, ...]:
        """Parameters that could not be measured: their numbers, and every total, are NaN."""
        return tuple(name for name, ways in self.ways.items() if any(way.kernel == UNAVAILABLE for way in ways))

    def __str__(self) -> str:
        rows = [
            (name, "x".join(map(str, self.shapes[name])), "; ".join(f"{', '.join(w.rules)} ({w.kernel})" for w in ways))
            for name, ways in self.ways.items()
        ]
        rows += [(name, "", "frozen: does not require a gradient, not measured") for name in self.frozen]
        return _table(("parameter", "shape", "measured by"), rows)


@dataclass(frozen=True)
class Plan:
    """The kernels chosen for each layer shape, with the times they were chosen by. loops: what going through examples
    one at a time costs, where that was needed."""

    choices: tuple[KernelChoice, ...]
    loops: tuple[LoopCost, ...] = ()

    def __str__(self) -> str:
        rows = [
            (
                choice.layer,
                choice.kernel,
                f"{choice.scratch_bytes / 1e6:.2f}",
                ", ".join(f"{name} {seconds * 1e3:.2f}" for name, seconds in choice.seconds.items()),
            )
            for choice in self.choices
        ]
        table = _table(("layer shape", "kernel", "MB per example", "ms per batch when chosen"), rows)
        return "\n".join([table, *map(str, self.loops)])


@dataclass(frozen=True, eq=False)
class Report:
    """Result of `measure`.

    moments: the sums everything follows from, mergeable (`GradientMoments`). owners: parameter -> module.
    places: parameter -> its kind and block (`kinds.Place`), from the inputs to the outputs.
    coverage, plan: how it was measured. population: number of examples the data is a sample of; None: it is all.
    notes: what a reader should know (a random forward pass, conversions, why a slow way was taken).
    effective_examples: (sum ‖g‖²)² / sum ‖g‖⁴, how many examples of equal norm would weigh as much.
    """

    moments: GradientMoments = field(repr=False)
    owners: Mapping[str, str] = field(repr=False)
    places: Mapping[str, kinds.Place] = field(repr=False)
    coverage: Coverage = field(repr=False)
    plan: Plan = field(repr=False)
    population: float | None = None
    notes: tuple[str, ...] = ()
    effective_examples: float = math.nan

    @classmethod
    def of(
        cls,
        model: nn.Module,
        moments: GradientMoments,
        coverage: Coverage,
        plan: Plan,
        population: float | None,
        notes: tuple[str, ...],
        effective_examples: float,
    ) -> Report:
        """The report of a finished measurement."""
        owners = {name: name.rpartition(".")[0] for name in moments.grad_sums}
        classes = {name: [c.__name__ for c in type(module).__mro__] for name, module in model.named_modules()}
        return cls(
            moments,
            owners,
            kinds.places(coverage.shapes, classes),
            coverage,
            plan,
            population,
            notes,
            effective_examples,
        )

    @cached_property
    def total(self) -> Moments:
        """Moments over all parameters; NaN when one could not be measured."""
        return self.moments.total

    @property
    def num_examples(self) -> int:
        """n."""
        return self.moments.num_examples

    @property
    def sum_sq_norms(self) -> float:
        """S1 = sum_i ‖g_i‖²."""
        return self.total.sum_sq_norms

    @property
    def sq_norm_sum(self) -> float:
        """Q = ‖sum_i g_i‖²."""
        return self.total.sq_norm_sum

    @property
    def gradient_diversity(self) -> float:
        """Δ = S1/Q."""
        return self.total.gradient_diversity

    @property
    def batch_size_bound(self) -> float:
        """B_S = n S1/Q, examples."""
        return self.total.batch_size_bound

    @property
    def simple_noise_scale(self) -> float:
        """B_S - 1, examples."""
        return self.total.simple_noise_scale

    @cached_property
    def by_parameter(self) -> Mapping[str, Moments]:
        """Parameter name -> Moments."""
        return self.moments.by_parameter

    @cached_property
    def by_module(self) -> Mapping[str, Moments]:
        """Name of a module that owns parameters -> Moments over them ("" is the model itself)."""
        return self.moments.by_module(self.owners)

    @cached_property
    def by_kind(self) -> Mapping[str, kinds.Part]:
        """Kind of layer (convolution, normalisation, head, ...; see kinds.py) -> moments, size and share of S1."""
        return kinds.by_kind(self.by_parameter, self.places)

    @cached_property
    def by_block(self) -> Mapping[str, kinds.Part]:
        """Block (stem, residual block or transformer layer, single layer) -> the same, inputs to outputs."""
        return kinds.by_block(self.by_parameter, self.places)

    @cached_property
    def by_block_and_kind(self) -> Mapping[tuple[str, str], kinds.Part]:
        """(block, kind) -> the same: both partitions at once."""
        return kinds.by_block_and_kind(self.by_parameter, self.places)

    @cached_property
    def estimate(self) -> SampleEstimate | None:
        """B_S of the population the data is a sample of, with its interval; None when the data is all there is."""
        if self.population is None or self.population == self.num_examples:
            return None
        return sample_interval(self.moments, self.population)

    @property
    def interval(self) -> tuple[float, float] | None:
        """(low, high) for the population's batch_size_bound, high = inf for "at least low"; None when exact."""
        return self.estimate.bounds if self.estimate else None

    @property
    def interval_warning(self) -> str | None:
        """Why the interval is likely to be too narrow; None when there is none, or no reason to doubt it."""
        if self.interval is None or not self.effective_examples < min(FEW_EFFECTIVE, self.num_examples / 2):
            return None
        return (
            f"the interval rests on too few examples: the {self.num_examples} measured weigh as much as "
            f"{self.effective_examples:.3g} of equal gradient norm, so it is likely too narrow; measure more"
        )

    def __str__(self) -> str:
        return self.text()

    def text(self, by: str = "module") -> str:
        """The report in words, its table by "module", "kind" or "block"; print(report) is by module."""
        table = self._by_module_table() if choose("table", by, TABLES) == "module" else self._parts_table(by)
        lines = [f"gradient diversity over {self.num_examples} examples", table, *self.notes]
        if self.estimate:
            lines.append(f"population: {self.estimate}")
        if self.interval_warning:
            lines.append(self.interval_warning)
        if self.coverage.unmeasured:
            lines.append(f"could not be measured, so totals are not available: {', '.join(self.coverage.unmeasured)}")
        if self.coverage.fallbacks:
            lines.append(f"measured by a slow way: {', '.join(self.coverage.fallbacks)}")
        return "\n".join(lines)

    def _by_module_table(self) -> str:
        rows = [(name or "(model)", *_numbers(moments)) for name, moments in self.by_module.items()]
        return _table(("module", *COLUMNS), [*rows, ("total", *_numbers(self.total))])

    def _parts_table(self, by: str) -> str:
        parts = self.by_kind if by == "kind" else self.by_block
        rows = [
            (name, f"{part.num_parameters}", *_numbers(part), f"{100 * part.share:.1f} %")
            for name, part in parts.items()
        ]
        size = sum(part.num_parameters for part in parts.values())
        return _table((by, "parameters", *COLUMNS, "share"), [*rows, ("total", f"{size}", *_numbers(self.total), "")])


def _numbers(moments: Moments) -> tuple[str, ...]:
    numbers = (moments.sum_sq_norms, moments.sq_norm_sum, moments.gradient_diversity, moments.batch_size_bound)
    return tuple("not available" if math.isnan(number) else f"{number:.6g}" for number in numbers)


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Columns aligned by spaces; the first is left-aligned, as are columns of words."""
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
