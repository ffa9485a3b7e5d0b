"""Data that a function of the user's own returns: ``dataset = "mydata:make"``."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from batchscope.data.dataset import RawData
from batchscope.data.memory import raw_from_arrays
from batchscope.data.readers.npz import KEYS, our_names
from batchscope.errors import DataError, InputError
from batchscope.importing import import_object


def read_function(name: str, seed: int, options: Mapping[str, Any]) -> RawData:
    """Call ``package.module:name`` with the data set's options, and the seed if it takes one.

    It returns (inputs, targets), or (inputs, targets, heldout_inputs, heldout_targets), or a dictionary of them:
    arrays, tensors, or what NumPy makes arrays of. Raises InputError for options it does not take and whatever else it
    raises, DataError for what it returns.
    """
    make = import_object(name, "dataset")
    if not callable(make):
        raise InputError(f"dataset {name!r} is a {type(make).__name__}; expected a function that returns arrays")
    takes_seed = "seed" in inspect.signature(make).parameters
    try:
        made = make(**options, **({"seed": seed} if takes_seed else {}))
    except Exception as error:  # the function is not ours: whatever it raises is reported as it is
        raise InputError(f"dataset {name!r} raised {type(error).__name__}: {error}") from error
    found = {str(key): _array(name, str(key), value) for key, value in _named(name, made).items()}
    arrays = dict(zip(our_names(name, list(found)), found.values(), strict=True))
    return raw_from_arrays(**arrays, name=name.rpartition(":")[2], source=f"Returned by {name}.")


def _named(name: str, made: Any) -> Mapping[str, Any]:
    if isinstance(made, Mapping):
        return made
    if isinstance(made, tuple | list) and len(made) in (2, 4):
        return dict(zip(KEYS, made, strict=False))
    raise DataError(
        f"dataset {name!r} returned a {type(made).__name__}{f' of {len(made)}' if hasattr(made, '__len__') else ''}; "
        f"expected (inputs, targets), or ({', '.join(KEYS)}), or a dictionary of them"
    )


def _array(name: str, key: str, value: Any) -> np.ndarray[Any, Any]:
    if hasattr(value, "detach"):  # a tensor, perhaps on another device
        value = value.detach().cpu().numpy()
    try:
        return np.asarray(value)
    except (ValueError, TypeError) as error:
        raise DataError(f"dataset {name!r}: {key} is no array ({error}); expected numbers [n, ...]") from error
