"""`load`: a data set by name, or one of the user's own: a file, a folder, or a function."""

from __future__ import annotations

import dataclasses
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from batchscope.data import sets as sets  # registers them
from batchscope.data.dataset import Dataset, RawData
from batchscope.data.readers.function import read_function
from batchscope.data.readers.npz import read_npz
from batchscope.data.readers.table import read_csv, read_datasets_folder, read_parquet
from batchscope.data.readers.text import read_text
from batchscope.data.registry import BUILT_IN, READERS, names
from batchscope.data.standardise import prepare
from batchscope.errors import InputError, closest, shown
from batchscope.importing import find_path

_KINDS: dict[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    tuple: "a list of whole numbers or of names",
}

TEXT = "text:"  # before the path of any file
FILES: dict[str, Callable[..., RawData]] = {".npz": read_npz, ".csv": read_csv, ".parquet": read_parquet}


def load(
    name: str | os.PathLike[str],
    *,
    data_dir: str | os.PathLike[str] | None = None,
    num_examples: int | None = None,
    seed: int = 0,
    standardise: str | None = None,
    **options: Any,
) -> Dataset:
    """Return the data set `name`, checked and standardised with the statistics of its training part.

    name: digits, synthetic, gisette_like (nothing to download), mnist, fashion_mnist, emnist_letters, emnist47,
    cifar10, gisette; the path of a .npz file (arrays inputs, targets and optionally heldout_inputs, heldout_targets, or
    X, y and X_test, y_test), of a .csv or .parquet file (option target: a column), or of a folder that Hugging Face's
    datasets saved; text:PATH, the bytes of any file; or package.module:function of one's own, which returns arrays.
    Whole-number targets are classes, floats are regression targets.
    data_dir: the first folder to look in; then $BATCHSCOPE_DATA, ../shared/data beside the checkout, the user's
    cache and the system's data folders.
    num_examples: how many examples to generate, or a subset drawn with `seed` from a set of fixed size.
    seed: also of everything else that is random here: generated sets, the held-out split of digits.
    standardise: "per_channel", "per_feature", "global", "none" (divided by the unit of the raw numbers only, 255 for
    bytes), "raw" (not even that) or "tokens" (whole numbers, for embeddings); by default per channel for images, over
    all entries for gisette (rare features would become huge), per feature for a flat .npz, none for synthetic.
    options: those of the set's own function, e.g. d_in, d_out, teacher_widths, noise for synthetic.

    Raises InputError for a name, option or number that cannot be used, DataError for files that are missing or bad.

    >>> load("digits").inputs.shape
    (1437, 1, 8, 8)
    """
    if num_examples is not None and num_examples < 1:
        raise InputError(f"num_examples {num_examples}: expected at least 1")
    raw = _read(os.fspath(name), data_dir, num_examples, seed, options)
    if standardise is not None:
        raw = dataclasses.replace(raw, scheme=standardise)
    dataset = prepare(raw)
    if num_examples is None or (name in BUILT_IN and BUILT_IN[str(name)].sized):
        return dataset
    return dataset.subset(num_examples, seed)


def _read(
    name: str, data_dir: str | os.PathLike[str] | None, num_examples: int | None, seed: int, options: dict[str, Any]
) -> RawData:
    if name in BUILT_IN:
        size = {} if num_examples is None or not BUILT_IN[name].sized else {"num_examples": num_examples}
        return _call(name, BUILT_IN[name].make, {"seed": seed, **size}, options)
    if name in READERS:
        return _call(name, READERS[name], {"name": name, "data_dir": data_dir}, options)
    if name.startswith(TEXT):
        return _call(name, read_text, {"path": find_path(name.removeprefix(TEXT))}, options)
    if Path(name).suffix.lower() in FILES:
        return _call(name, FILES[Path(name).suffix.lower()], {"path": find_path(name)}, options)
    if find_path(name).is_dir():
        return _call(name, read_datasets_folder, {"path": find_path(name)}, options)
    if ":" in name:
        return read_function(name, seed, options)
    raise InputError(
        f"unknown data set {shown(name)}: {closest(name, names())} One of your own is a path that ends in "
        f"{', '.join(FILES)}, a folder saved by datasets, {TEXT}PATH or package.module:function."
    )


def _call(name: str, reader: Callable[..., RawData], given: dict[str, Any], options: dict[str, Any]) -> RawData:
    """Call `reader`, refusing options it does not have by naming the closest one it does."""
    allowed = [
        option for option in inspect.signature(reader).parameters if option not in (*given, "seed", "num_examples")
    ]
    for option in options:
        if option not in allowed:
            hint = closest(option, allowed) if allowed else "it takes none"
            raise InputError(f"data set {name!r} has no option {shown(option)}: {hint}")
        _check_type(name, option, options[option], inspect.signature(reader).parameters[option].default)
    return reader(**given, **options)


def _check_type(name: str, option: str, value: Any, default: Any) -> None:
    """Raise InputError for a value of another kind than the option's default."""
    for kind, words in _KINDS.items():
        if type(default) is kind and not _is(kind, value):
            raise InputError(f"data set {name!r}: {option} = {shown(value)}; expected {words}")


def _is(kind: type, value: Any) -> bool:
    if kind is tuple:
        return isinstance(value, list | tuple) and {type(entry) for entry in value} in (set(), {int}, {str})
    return type(value) is kind or (kind is float and type(value) is int)
