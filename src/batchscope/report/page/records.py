"""Tables of what was run: outcomes, failures with their messages, seconds; versions, seeds, data; the rows as CSV."""

from __future__ import annotations

import base64
import gzip
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from batchscope.analysis.formatting import duration
from batchscope.analysis.sweeps import by_shape
from batchscope.records.csv_text import csv_text
from batchscope.records.row import Outcome
from batchscope.records.rows import COLUMNS, Rows
from batchscope.report.charts.chart import Table

CSV_COLUMNS = tuple(name for name in COLUMNS if name != "history")
PLAIN_TEXT = 500_000  # characters; a longer one is compressed, and the page's script unpacks it
MAX_FAILURES = 100  # lines of the table of failures


def ledger(rows: Rows) -> tuple[Table, Table]:
    """Return (outcomes and seconds per phase and shape, failures grouped by message)."""
    return _outcomes(rows), _failures(rows)


def _outcomes(rows: Rows) -> Table:
    heads = ("phase", "shape", *(outcome.value for outcome in Outcome), "n (runs)", "compute")
    lines = []
    for (phase,), runs in sorted(rows.group_by("phase").items()):
        for shape, group in by_shape(runs).items():
            counts = (str(len(group.where(outcome=outcome))) for outcome in Outcome)
            lines.append((phase, shape, *counts, str(len(group)), duration(sum(group.entries("seconds")))))
    meanings = " ".join(f"{outcome.value}: {outcome.sentence}" for outcome in Outcome)
    note = "Compute: wall time of a cohort divided by its members, summed; tuning runs are meant to stop early."
    return Table(heads, tuple(lines), f"{meanings} {note}")


def _failures(rows: Rows) -> Table:
    failed = rows.where(outcome=(Outcome.DIVERGED, Outcome.CRASHED))
    groups = failed.group_by("outcome", "phase", "message")
    common = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    lines = tuple(
        (
            outcome.value,
            phase,
            message or outcome.sentence,
            str(len(group)),
            _list(group.distinct("shape")),
            _list(group.distinct("batch_size")),
            group[0].trial_id,
        )
        for (outcome, phase, message), group in common[:MAX_FAILURES]
    )
    heads = ("outcome", "phase", "message", "n (runs)", "shapes", "batch sizes", "first trial")
    more = (
        f" The {MAX_FAILURES} most frequent of {len(common)} messages; all are in the data."
        if len(common) > MAX_FAILURES
        else ""
    )
    return Table(heads, lines, f"Runs that diverged or crashed, by message.{more}")


def _list(found: Sequence[tuple[object, ...]], most: int = 4) -> str:
    """Return combinations of values as text, the first few of them; "-" for nothing."""
    names = [" ".join(map(str, one)) for one in found]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "") or "-"


PROVENANCE = {
    "study": ("study",),
    "protocol": ("protocol",),
    "data set": ("dataset",),
    "data, sha256 (first 16 digits)": ("data_fingerprint",),
    "examples": ("num_examples",),
    "family": ("family",),
    "code of the network, version": ("source", "version"),
    "loss, its code": ("loss", "loss_source"),
    "metric, its code": ("metric", "metric_source"),
    "initialisation": ("initialisation",),
    "optimizer, momentum": ("optimizer", "momentum"),
    "sampling": ("sampling",),
    "number type": ("dtype",),
    "target": ("target_metric", "target_value"),
    "epochs allowed, phase": ("max_epochs", "phase"),
    "checks of the target per epoch": ("evaluations_per_epoch",),
    "seeds": ("seed",),
    "device": ("device",),
    "versions": ("versions",),
    "commit": ("commit",),
}


def provenance(rows: Rows) -> Table:
    """Return one line per fact; values that differ among the runs are all listed (the first dozen)."""
    lines = []
    for fact, fields in PROVENANCE.items():
        values = sorted(rows.distinct(*fields), key=str)
        if any(
            value != "" for entry in values for value in entry
        ):  # what is the user's own has lines where it is there
            lines.append((fact, _list(values, most=12)))
    return Table(("fact", "value"), tuple(lines))


def run_records(runs: Sequence[Mapping[str, Any]]) -> Table:
    """Return one line per call of `run`: when, by which command, on which machine, with which versions."""
    heads = tuple(dict.fromkeys(name for run in runs for name in run))
    lines = tuple(tuple(_words(run.get(name, "-")) for name in heads) for run in runs)
    return Table(heads, lines, "Every call of run that wrote these rows, the oldest first.")


def _words(value: object) -> str:
    return shlex.join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def rows_as_csv(rows: Rows) -> str:
    """Return the rows as CSV: every column but the histories, numbers with six digits."""
    return "".join(csv_text(rows, CSV_COLUMNS, digits=6))


def embedded(text: str) -> tuple[str, str]:
    """Return (encoding, content) for the page: "text", or "gzip" in base64 where that is long or looks like HTML."""
    if len(text) <= PLAIN_TEXT and "<" not in text:
        return "text", text
    return "gzip", packed(text)


def packed(text: str) -> str:
    """Return the text compressed, as base64: what the page's script unpacks."""
    return base64.b64encode(gzip.compress(text.encode(), compresslevel=9, mtime=0)).decode()
