"""A user's own table: a CSV or Parquet file of which one column is the target, or a Hugging Face data set on disk."""

from __future__ import annotations

import csv
import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from batchscope.data.dataset import Array, RawData
from batchscope.data.memory import raw_from_arrays
from batchscope.errors import DataError, closest
from batchscope.importing import find_path

Columns = Mapping[str, Any]  # name -> its values, a list or an array
HELDOUT_SPLITS = ("test", "validation")
MOST_SHOWN = 12


def read_csv(*, path: Path, target: str = "", columns: Sequence[str] = (), heldout: str = "") -> RawData:
    """Read a CSV file with a line of names; see `_raw_data` for the arguments. Numbers are as Python writes them."""
    return _raw_data(path, _csv_columns(path), _other(heldout, _csv_columns), target, columns)


def read_parquet(*, path: Path, target: str = "", columns: Sequence[str] = (), heldout: str = "") -> RawData:
    """Read a Parquet file; see `_raw_data` for the arguments. Needs the extra ``parquet``."""
    return _raw_data(path, _parquet_columns(path), _other(heldout, _parquet_columns), target, columns)


def read_datasets_folder(*, path: Path, target: str = "label", columns: Sequence[str] = ()) -> RawData:
    """Read what ``save_to_disk`` of Hugging Face's datasets wrote, its splits train and test (or validation).

    See `_raw_data` for the other arguments. Needs the extra ``datasets``.
    """
    datasets = _needed("datasets", "datasets")
    try:
        found = datasets.load_from_disk(str(path))
    except Exception as error:  # whatever the library raises for a damaged folder
        raise DataError(f"{path}: not a data set saved by save_to_disk ({error}); save it again") from error
    splits = dict(found) if isinstance(found, Mapping) else {"train": found}
    if "train" not in splits:
        raise DataError(f"{path}: found the splits {', '.join(splits)}; expected one named train")
    heldout = next((splits[name] for name in HELDOUT_SPLITS if name in splits), None)
    parts = [None if part is None else part.with_format("numpy")[:] for part in (splits["train"], heldout)]
    return _raw_data(path, parts[0] or {}, parts[1], target, columns)


def _raw_data(path: Path, train: Columns, heldout: Columns | None, target: str, columns: Sequence[str]) -> RawData:
    """The columns as inputs and targets.

    target: name of the column to predict; whole numbers and texts are classes (texts in alphabetical order), floats a
    regression. columns: those that are the inputs; all others if left out. One column of arrays is the inputs itself.
    heldout: of a file, another with the same columns.
    """
    listed = _shown(train)
    if target not in train:
        hint = f": {closest(target, train)}" if target and train else ""
        raise DataError(
            f"{path}: {f'there is no column {target!r}{hint}' if target else 'which column is the target?'} It has "
            f'{listed}; say dataset_options = {{ target = "..." }}'
        )
    names = tuple(columns) or tuple(name for name in train if name != target)
    unknown = [name for name in names if name not in train]
    if unknown or not names:
        raise DataError(f"{path}: no column {unknown[0] if unknown else 'is left'!r} for the inputs; it has {listed}")
    labels = _labels(train[target])
    parts = [(train, "training part")] + ([(heldout, "held-out part")] if heldout is not None else [])
    arrays: list[Array] = []
    for part, which in parts:
        missing = [name for name in (*names, target) if name not in part]
        if missing:
            raise DataError(f"{path}, {which}: the column {missing[0]!r} is missing; it has {_shown(part)}")
        arrays += [_inputs(path, part, names), _targets(f"{path}, {which}", target, part[target], labels)]
    source = f"Read from {path}, target {target}" + (f" ({', '.join(labels)})." if labels else ".")
    return raw_from_arrays(*arrays, name=path.stem, source=source)


def _inputs(path: Path, part: Columns, names: Sequence[str]) -> Array:
    found = {name: _numbers(part[name]) for name in names}
    bad = [name for name, values in found.items() if values is None]
    if bad:
        raise DataError(
            f"{path}: no numbers in the column{'s' if len(bad) > 1 else ''} {', '.join(map(repr, bad[:MOST_SHOWN]))} "
            f"({_first_text(part[bad[0]])}); turn texts into numbers, or name the columns to use: "
            "dataset_options = { columns = [...] }"
        )
    arrays = [np.asarray(values) for values in found.values()]
    if len(arrays) == 1 and arrays[0].ndim > 1:
        return _channels_first(arrays[0])
    if any(array.ndim > 1 for array in arrays):
        raise DataError(
            f"{path}: {', '.join(names)} hold arrays and numbers; name one column of arrays, or numbers only"
        )
    return np.stack(arrays, axis=1)


def _channels_first(images: Array) -> Array:
    """Images [n, H, W, C] as files hold them become [n, C, H, W]."""
    return np.moveaxis(images, -1, 1) if images.ndim == 4 and images.shape[-1] in (1, 3, 4) else images


def _numbers(values: Any) -> Array | None:
    """A column as an array of numbers; None where an entry is none."""
    try:
        array = np.asarray(values)
        if array.dtype.kind in "OUS":
            array = np.asarray(array.tolist(), dtype=np.float64)
    except (ValueError, TypeError):
        return None
    array = array.astype(np.int64) if array.dtype.kind == "b" else array
    return array if array.dtype.kind in "iuf" else None


def _labels(values: Any) -> list[str]:
    """The classes that texts name, in alphabetical order; none where they are numbers."""
    return [] if _numbers(values) is not None else sorted({str(value) for value in values})


def _targets(where: str, name: str, values: Any, labels: Sequence[str]) -> Array:
    if not labels:
        numbers = _numbers(values)
        if numbers is None:
            raise DataError(
                f"{where}: the target {name!r} has no numbers ({_first_text(values)}), the training part has"
            )
        return numbers
    known = {label: number for number, label in enumerate(labels)}
    new = next((str(value) for value in values if str(value) not in known), None)
    if new is not None:
        raise DataError(f"{where}: the target {name!r} has {new!r}, which the training part does not have")
    return np.array([known[str(value)] for value in values], dtype=np.int64)


def _first_text(values: Any) -> str:
    """The first entry that is no number, and where it stands."""
    for row, value in enumerate(values):
        if _numbers([value]) is None or value is None:
            return f"{value!r} in row {row + 1}"
    return "entries of several kinds"


def _csv_columns(path: Path) -> Columns:
    """Column -> values: integers where all are, else floats where all are, else texts."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [line for line in csv.reader(file) if line]
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a readable CSV file ({error}); expected UTF-8 with a line of names") from error
    if len(lines) < 2:
        raise DataError(f"{path}: {len(lines)} lines; expected a line of column names, then one line per example")
    head, *rows = lines
    if len(set(head)) < len(head):
        raise DataError(f"{path}: a column name is repeated in {', '.join(head)}; give each its own")
    ragged = next((number for number, row in enumerate(rows, 2) if len(row) != len(head)), None)
    if ragged is not None:
        raise DataError(
            f"{path}: line {ragged} has {len(rows[ragged - 2])} entries; expected {len(head)}, as the line of names has"
        )
    return {name: _typed(values) for name, values in zip(head, zip(*rows, strict=True), strict=True)}


def _typed(values: Sequence[str]) -> Any:
    for kind in (int, float):
        try:
            return np.array([kind(value) for value in values])
        except (ValueError, OverflowError):
            continue
    return list(values)


def _parquet_columns(path: Path) -> Columns:
    parquet = _needed("pyarrow.parquet", "parquet")
    try:
        table = parquet.read_table(path)
    except Exception as error:  # of pyarrow's own kinds
        raise DataError(f"{path}: not a readable Parquet file ({error})") from error
    return {name: table[name].to_pylist() for name in table.column_names}


def _other(heldout: str, read: Any) -> Columns | None:
    return read(find_path(heldout)) if heldout else None


def _needed(module: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise DataError(f"this needs {module.partition('.')[0]}: pip install 'batchscope[{extra}]'") from error


def _shown(columns: Columns) -> str:
    names = list(columns)
    more = f" and {len(names) - MOST_SHOWN} more" if len(names) > MOST_SHOWN else ""
    return f"the columns {', '.join(names[:MOST_SHOWN])}{more}" if names else "no columns"
