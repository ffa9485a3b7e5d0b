"""What every figure and page says about its runs: data, target, n, protocol. What differs is listed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from batchscope.analysis.formatting import grouped
from batchscope.records.plain import AS_GIVEN
from batchscope.records.row import Row, Target
from batchscope.records.rows import Rows


@dataclass(frozen=True)
class Context:
    """What the runs share, as text; "-" where there are no runs."""

    study: str
    dataset: str
    num_examples: str
    target: str
    protocol: str
    seeds: str  # the number of seeds per cell, "5" or "3-5"
    max_epochs: str
    passes: str  # over the data, that count as one epoch

    @property
    def epoch(self) -> str:
        """What epochs are: "passes over the data", or "each 3 passes over the data"."""
        return "passes over the data" if self.passes in ("1", "-") else f"each {self.passes} passes over the data"

    @property
    def subtitle(self) -> str:
        """Data, target, seeds and protocol on one line, for the top of a figure."""
        passes = "" if self.passes in ("1", "-") else f", {self.passes} passes an epoch"
        return (
            f"{self.dataset} (n = {self.num_examples} examples{passes}) · target: {self.target} · "
            f"{self.seeds} seeds per point · protocol {self.protocol}"
        )


def context(rows: Iterable[Row]) -> Context:
    """Return what the reported runs (phase "final"; all of them when there is none) have in common."""
    given = Rows.of(rows)
    final = given.where(phase="final") or given
    return Context(
        study=_join(final.entries("study")),
        dataset=_join(final.entries("dataset")),
        num_examples=_join(grouped(size) for (size,) in final.distinct("num_examples")),
        target=_join(
            AS_GIVEN if metric == AS_GIVEN else str(Target(metric, value)).replace(">=", "≥").replace("<=", "≤")
            for metric, value in final.distinct("target_metric", "target_value")
        ),
        protocol=_join(final.entries("protocol")),
        seeds=_seeds(final),
        max_epochs=_join(f"{count:g}" for (count,) in final.distinct("max_epochs")),
        passes=_join(str(count) for (count,) in final.distinct("passes_per_epoch")),
    )


def _join(texts: Iterable[str]) -> str:
    return " / ".join(dict.fromkeys(texts)) or "-"


def _seeds(rows: Rows) -> str:
    """Return the number of runs per shape and batch size."""
    counts = list(map(len, rows.group_by("shape", "batch_size").values()))
    if not counts:
        return "-"
    return str(min(counts)) if min(counts) == max(counts) else f"{min(counts)}-{max(counts)}"
