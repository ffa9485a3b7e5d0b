"""The rows of a run as csv, json or parquet. No torch."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from batchscope.errors import InputError
from batchscope.records.codec import encode
from batchscope.records.csv_text import csv_text
from batchscope.records.row import Row
from batchscope.records.rows import COLUMNS, KINDS, Rows
from batchscope.writing import replaced


def export(rows: Iterable[Row], path: str | Path) -> int:
    """Write the rows, sorted by trial id, to a .csv, .json or .parquet file; return their number.

    Numbers that are missing or not finite are empty (csv) or null; `history` is JSON text. For texts of a .csv that
    look like formulas see `csv_text`. Raises InputError for another ending or a missing pyarrow, StoreError for a file
    that cannot be written.
    """
    path = Path(path)
    writers = {".csv": _write_csv, ".json": _write_json, ".parquet": _write_parquet}
    if path.suffix not in writers:
        raise InputError(f"cannot export to {path.name!r}; expected a name ending in .csv, .json or .parquet")
    ordered = Rows.of(rows).in_order_of("trial_id", "study")
    with replaced(path) as draft:
        writers[path.suffix](draft, ordered)
    return len(ordered)


def _write_csv(path: Path, rows: Rows) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        file.writelines(csv_text(rows, COLUMNS))


def _write_json(path: Path, rows: Rows) -> None:
    text = json.dumps(list(map(encode, rows)), indent=1, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def _write_parquet(path: Path, rows: Rows) -> None:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise InputError(
            "writing .parquet needs pyarrow: pip install 'batchscope[parquet]'; or export to .csv"
        ) from None
    kinds = {int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    schema = pa.schema([(name, kinds.get(KINDS[name][0], pa.string())) for name in COLUMNS])
    pq.write_table(pa.Table.from_pylist(list(map(encode, rows)), schema), path)
