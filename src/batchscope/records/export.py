"""The rows of a run as csv, json or parquet. No torch."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

from batchscope.errors import InputError
from batchscope.records.codec import encode
from batchscope.records.row import Row
from batchscope.records.rows import COLUMNS, KINDS
from batchscope.writing import replaced


def export(rows: Iterable[Row], path: str | Path) -> int:
    """Write the rows, sorted by trial id, to a .csv, .json or .parquet file; return their number.

    Numbers that are missing or not finite are empty (csv) or null; `history` is JSON text. Raises InputError for
    another ending or a missing pyarrow, StoreError for a file that cannot be written.
    """
    path = Path(path)
    writers = {".csv": _write_csv, ".json": _write_json, ".parquet": _write_parquet}
    if path.suffix not in writers:
        raise InputError(f"cannot export to {path.name!r}; expected a name ending in .csv, .json or .parquet")
    lines = [encode(row) for row in sorted(rows, key=attrgetter("trial_id", "study"))]
    with replaced(path) as draft:
        writers[path.suffix](draft, lines)
    return len(lines)


def _write_csv(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(lines)


def _write_json(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    path.write_text(json.dumps(lines, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _write_parquet(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise InputError(
            "writing .parquet needs pyarrow: pip install 'batchscope[parquet]'; or export to .csv"
        ) from None
    kinds = {int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    schema = pa.schema([(name, kinds.get(KINDS[name][0], pa.string())) for name in COLUMNS])
    pq.write_table(pa.Table.from_pylist([dict(line) for line in lines], schema), path)
