"""Late imports: of batchscope's own modules on first use, and of objects of the user's own code, named as
``package.module:Name`` in study files and on the command line.

The current directory holds whatever was put there, and an `operator.py` or `types.py` among it is no part of Python.
So nothing is taken from it but the module that was named, and what this module imports and is nowhere else: once code
was found there, it is searched last. Worker processes do the same (see `module_path`).
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import PathFinder
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


def module_path() -> list[str]:
    """Return where a worker process shall look for modules: where this one does, the current directory last.

    And that only where this process has imported something from it (the user's own code, which may import more of it).
    """
    here = _here()
    elsewhere = [folder for folder in sys.path if folder and os.path.abspath(folder) != here]
    return [*elsewhere, here] if _has_imported_from(here) else elsewhere


def safe_environment() -> dict[str, str]:
    """Return the environment for a worker: as here, but no Python in it looks for modules in the current directory."""
    folders = [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder not in ("", ".")]
    return {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(folders)}


@contextmanager
def safe_children() -> Iterator[None]:
    """Give processes that a library starts meanwhile that environment."""
    before = dict(os.environ)
    os.environ.update(safe_environment())
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _here() -> str:
    """The current directory; nothing where it was removed."""
    try:
        return os.getcwd()
    except OSError:
        return ""


def _has_imported_from(folder: str) -> bool:
    """Whether some module of this process other than the program itself came from a folder."""
    specs = [getattr(module, "__spec__", None) for name, module in list(sys.modules.items()) if "." not in name]
    found = [(*(spec.submodule_search_locations or ()), spec.has_location and spec.origin) for spec in specs if spec]
    return any(place and os.path.dirname(os.path.abspath(place)) == folder for places in found for place in places)


def _import_module(module_name: str, where: str) -> Any:
    try:
        with _here_as_well():
            _take_from_here(module_name.partition(".")[0])
            return importlib.import_module(module_name)
    except Exception as error:  # the module is not ours: whatever it raises is reported as it is
        missing = (
            isinstance(error, ModuleNotFoundError) and error.name and f"{module_name}.".startswith(f"{error.name}.")
        )
        if missing:
            raise InputError(
                f"{where}: no module {module_name!r} in {_here() or 'a folder'} or on Python's path; start from "
                "the folder that holds it, install it, or add its folder to PYTHONPATH"
            ) from error
        raise InputError(f"{where}: importing {module_name!r} raised {type(error).__name__}: {error}") from error


@contextmanager
def _here_as_well() -> Iterator[None]:
    """Look in the current directory too, after everywhere else; and ever after, if something was found there."""
    here = _here()
    if here in sys.path:
        yield
        return
    sys.path.append(here)
    try:
        yield
    finally:
        if not _has_imported_from(here):
            sys.path.remove(here)


def _take_from_here(name: str) -> None:
    """Import a top-level module from the current directory, if it is there and was not imported yet."""
    spec = PathFinder.find_spec(name, [_here()]) if name not in sys.modules else None
    if spec is None or spec.loader is None or not spec.has_location:
        return
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
