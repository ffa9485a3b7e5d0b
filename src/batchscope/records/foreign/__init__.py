"""Other people's results as the plain numbers that reports take: each layout in its own file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from batchscope.errors import InputError
from batchscope.records.csv_text import csv_lines
from batchscope.records.foreign import batch_science, optuna, wandb
from batchscope.records.foreign.column_map import mapped, read_csv
from batchscope.records.foreign.reaching import Goal
from batchscope.records.plain import runs
from batchscope.records.plain_columns import COLUMNS
from batchscope.writing import write_text

Lines = list[dict[str, Any]]
FORMATS = {
    "csv": "a CSV with a line per run; --column says which heads are meant",
    "wandb": "the CSV of a project's table of runs, or of its API (summary, config, name); with --chart and --target, "
    "times from the CSV of a chart",
    "optuna": "what study.trials_dataframe().to_csv() writes, or the study's SQLite file, there also with --target",
    "batch_science": "the folder of Shallue et al.'s published data, or a part of it; with --target",
}


def imported(
    source: Path, layout: str, columns: Mapping[str, str], chart: Path | None = None, target: str | None = None
) -> Lines:
    """Lines of plain columns (see `records.plain`) from another layout: one of FORMATS.

    columns: ours -> theirs. Raises InputError for what a layout needs and does not have.
    """
    goal = None if target is None else Goal.parse(target)
    readers: dict[str, Callable[[], Lines]] = {
        "csv": lambda: [dict(line) for line in mapped(read_csv(source), columns, str(source))],
        "wandb": lambda: wandb.lines(source, columns, chart, goal),
        "optuna": lambda: optuna.lines(source, columns, goal),
        "batch_science": lambda: batch_science.lines(source, _needed(goal)),
    }
    if (chart is None) != (goal is None) and layout == "wandb":
        raise InputError("--chart and --target belong together: the chart is where the target is looked for")
    return readers[layout]()


def _needed(goal: Goal | None) -> Goal:
    if goal is None:
        raise InputError("batch_science holds measurements, no times: say --target 'val/classification_error < 0.3'")
    return goal


def save(lines: Sequence[Mapping[str, Any]], path: Path, num_examples: int | None = None) -> int:
    """Write lines of plain columns, once they have been understood as runs; return their number.

    Raises InputError as `plain.runs` does, StoreError for a file that cannot be written.
    """
    heads = [name for name in COLUMNS if any(line.get(name) not in (None, "") for line in lines)]
    table = {name: [line.get(name, "") for line in lines] for name in heads}
    if num_examples is not None:
        table["num_examples"] = [num_examples] * len(lines)
    runs(table)
    write_text(path, csv_lines([[head] for head in table]) + csv_lines(list(table.values())))
    return len(lines)
