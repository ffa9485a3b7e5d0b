"""What every figure and page says about its runs: data, target, n, protocol. What differs is listed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter

from batchscope.records import Row


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

    @property
    def subtitle(self) -> str:
        return (
            f"{self.dataset} (n = {self.num_examples} examples) · target: {self.target} · "
            f"{self.seeds} seeds per point · protocol {self.protocol}"
        )


def context(rows: Iterable[Row]) -> Context:
    """Return what the reported runs (phase "final"; all of them when there is none) have in common."""
    given = list(rows)
    final = [row for row in given if row.phase == "final"] or given
    facts = list(dict.fromkeys(map(_FACTS, final)))
    studies, datasets, sizes, metrics, targets, protocols, epochs = zip(*facts, strict=True) if facts else ((),) * 7
    signs = {"train_accuracy": "≥", "train_loss": "≤"}
    return Context(
        study=_join(studies),
        dataset=_join(datasets),
        num_examples=_join(f"{size:,}".replace(",", " ") for size in sizes),
        target=_join(
            f"{metric.replace('_', ' ')} {signs.get(metric, '=')} {value:g}"
            for metric, value in zip(metrics, targets, strict=True)
        ),
        protocol=_join(protocols),
        seeds=_seeds(final),
        max_epochs=_join(f"{count:g}" for count in epochs),
    )


_FACTS = attrgetter("study", "dataset", "num_examples", "target_metric", "target_value", "protocol", "max_epochs")


def _join(texts: Iterable[str]) -> str:
    return " / ".join(dict.fromkeys(texts)) or "-"


def _seeds(rows: Iterable[Row]) -> str:
    """Return the number of runs per shape and batch size."""
    counts = Counter(map(attrgetter("shape", "batch_size"), rows)).values()
    if not counts:
        return "-"
    return str(min(counts)) if min(counts) == max(counts) else f"{min(counts)}-{max(counts)}"
