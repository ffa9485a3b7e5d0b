"""Late imports: of batchscope's own modules on first use, and of objects of the user's own code, named as
``package.module:Name`` in study files and on the command line."""

from __future__ import annotations

import importlib
import os
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from batchscope.errors import InputError


def import_module(name: str) -> ModuleType:
    """Import a module in the middle of a user's program."""
    with _random_state_kept():
        return importlib.import_module(name)


def import_attribute(module: str, name: str) -> Any:
    """What `name` is in a module, which may be imported late itself."""
    with _random_state_kept():
        return getattr(importlib.import_module(module), name)


@contextmanager
def _random_state_kept() -> Iterator[None]:
    """Libraries that draw random numbers while they are imported must not move the user's random state."""
    before = random.getstate()
    try:
        yield
    finally:
        random.setstate(before)


def import_object(name: str, what: str) -> Any:
    """Return the object that ``package.module:Name`` names; the current folder is looked in first.

    what: how messages call the object, such as "family". Raises InputError when the module cannot be found or fails
    while it is imported, and when it has no such name.
    """
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise InputError(f"{what} {name!r}: expected package.module:Name")
    found = _import_module(module_name, f"{what} {name!r}")
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise InputError(
                f"{what} {name!r}: the module {module_name!r} has no {attribute!r}; check the name after the colon"
            )
        found = getattr(found, part)
    return found


def _import_module(module_name: str, where: str) -> Any:
    sys.path.insert(0, os.getcwd())
    try:
        return importlib.import_module(module_name)
    except Exception as error:  # the module is not ours: whatever it raises is reported as it is
        missing = (
            isinstance(error, ModuleNotFoundError) and error.name and f"{module_name}.".startswith(f"{error.name}.")
        )
        if missing:
            raise InputError(
                f"{where}: no module {module_name!r} in {os.getcwd()} or on Python's path; start from the folder that "
                "holds it, install it, or add its folder to PYTHONPATH"
            ) from error
        raise InputError(f"{where}: importing {module_name!r} raised {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(os.getcwd())
