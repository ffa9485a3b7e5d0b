"""What every figure and page says about its runs: data, target, n, protocol. What differs is listed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from batchscope.records import Row, Target


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
    return Context(
        study=_join(final, lambda row: row.study),
        dataset=_join(final, lambda row: row.dataset),
        num_examples=_join(final, lambda row: f"{row.num_examples:,}".replace(",", " ")),
        target=_join(
            final, lambda row: str(Target(row.target_metric, row.target_value)).replace(">=", "≥").replace("<=", "≤")
        ),
        protocol=_join(final, lambda row: row.protocol),
        seeds=_seeds(final),
        max_epochs=_join(final, lambda row: f"{row.max_epochs:g}"),
    )


def _join(rows: Sequence[Row], text: Callable[[Row], str]) -> str:
    return " / ".join(dict.fromkeys(map(text, rows))) or "-"


def _seeds(rows: Sequence[Row]) -> str:
    counts: dict[tuple[str, int], int] = {}
    for row in rows:
        counts[row.shape, row.batch_size] = counts.get((row.shape, row.batch_size), 0) + 1
    if not counts:
        return "-"
    low, high = min(counts.values()), max(counts.values())
    return str(low) if low == high else f"{low}-{high}"
