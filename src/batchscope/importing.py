"""Late imports: of batchscope's own modules on first use, and of objects of the user's own code, named as
``package.module:name`` in study files and on the command line.

How own code is found is decided here. The module that was named is looked for in the folders of `looked_in`, that of
the study file and then the current one, before anywhere else. These folders hold whatever was put there, and an
`operator.py` or `types.py` among it is no part of Python: so nothing is taken from them but that module, and what it
imports and is nowhere else; once code was found in a folder, it is searched last. Worker processes do the same: they
are started with `module_path`, and each job tells them the folders (`look_in`), wherever they run.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from batchscope.errors import InputError

_TOLD: list[str] = []  # folders beside the current one, the last told first


def import_module(name: str) -> ModuleType:
    """Import a module in the middle of a user's program."""
    with _random_state_kept():
        return importlib.import_module(name)


def late_attribute(package: str, places: Mapping[str, str], name: str) -> Any:
    """What `name` is in a package whose names are imported on first use; for its ``__getattr__``.

    places: name -> the module of the package that has it, where it may be late itself. AttributeError for others.
    """
    if name not in places:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    return getattr(import_module(f"{package}.{places[name]}"), name)


@contextmanager
def _random_state_kept() -> Iterator[None]:
    """Libraries that draw random numbers while they are imported must not move the user's random state."""
    before = random.getstate()
    try:
        yield
    finally:
        random.setstate(before)


def look_in(*folders: str | os.PathLike[str]) -> None:
    """Look for own code, and for data files that are not where they are named, in these folders before all others."""
    for folder in reversed([os.path.abspath(folder) for folder in folders]):
        if folder in _TOLD:
            _TOLD.remove(folder)
        _TOLD.insert(0, folder)


# Modules of own code by their name and the folders looked in.
_FOUND: dict[tuple[str, tuple[str, ...]], ModuleType] = {}


def looked_in() -> tuple[str, ...]:
    """The folders in which own code is looked for, in their order."""
    try:
        here = os.getcwd()
    except OSError:  # it was removed
        here = ""
    return tuple(dict.fromkeys(filter(None, (*_TOLD, here))))


def find_path(name: str | os.PathLike[str]) -> Path:
    """Where a file or folder of the user's lies: as named, or in the first of the folders looked in that has it."""
    path = Path(name).expanduser()
    places = [path, *(Path(folder) / path for folder in looked_in())]
    return next(filter(_exists, places), path)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name too long, a folder that may not be read
        return False


def import_object(name: str, what: str) -> Any:
    """Return the object that ``package.module:name`` names, looked for as the head of this file says.

    what: how messages call the object, such as "family". Raises InputError when the module cannot be found or fails
    while it is imported, when Python already has another of its name, and when it has no such name.
    """
    module_name, attribute = parts_of(name, what)
    found: Any = _import_own(module_name, f"{what} {name!r}")
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise InputError(
                f"{what} {name!r}: the module {module_name!r} has no {attribute!r}; check the name after the colon"
            )
        found = getattr(found, part)
    return found


def parts_of(name: str, what: str) -> tuple[str, str]:
    """``package.module:name`` as (module, name); InputError for anything else."""
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise InputError(f"{what} {name!r}: expected package.module:name")
    return module_name, attribute


def module_path() -> list[str]:
    """Return where a worker process shall look for modules: where this one does, the folders of own code last.

    And those only where this process has imported something from them.
    """
    own = looked_in()
    elsewhere = [folder for folder in sys.path if folder and os.path.abspath(folder) not in own]
    return [*elsewhere, *filter(_has_imported_from, own)]


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


def _has_imported_from(folder: str) -> bool:
    """Whether some module of this process other than the program itself came from a folder."""
    specs = [getattr(module, "__spec__", None) for name, module in list(sys.modules.items()) if "." not in name]
    found = [(*(spec.submodule_search_locations or ()), spec.has_location and spec.origin) for spec in specs if spec]
    return any(place and os.path.dirname(os.path.abspath(place)) == folder for places in found for place in places)


def _import_own(module_name: str, where: str) -> ModuleType:
    folders, top = looked_in(), module_name.partition(".")[0]
    known = _FOUND.get((module_name, folders))
    if known is not None and sys.modules.get(module_name) is known:  # looking for it anew reads every module's place
        return known
    try:
        with _searched_last(folders):
            _take_from(folders, top, where)
            found = importlib.import_module(module_name)
        _FOUND[module_name, folders] = found
        return found
    except InputError:
        raise
    except Exception as error:  # the module is not ours: whatever it raises is reported as it is
        missing = (
            isinstance(error, ModuleNotFoundError) and error.name and f"{module_name}.".startswith(f"{error.name}.")
        )
        if missing:
            raise InputError(
                f"{where}: no module {module_name!r} in {' or '.join(folders) or 'a folder'} or on Python's path; put "
                "its file beside the study file, start from the folder that holds it, or install it"
            ) from error
        raise InputError(f"{where}: importing {module_name!r} raised {type(error).__name__}: {error}") from error


@contextmanager
def _searched_last(folders: Sequence[str]) -> Iterator[None]:
    """Look in these folders too, after everywhere else; and ever after in those in which something was found."""
    added = [folder for folder in folders if folder not in sys.path]
    sys.path.extend(added)
    try:
        yield
    finally:
        for folder in added:
            if not _has_imported_from(folder):
                sys.path.remove(folder)


def _take_from(folders: Sequence[str], top: str, where: str) -> None:
    """Import a top-level module from the first of the folders that has it, if it was not imported yet."""
    importlib.invalidate_caches()  # the file may have been written a moment ago
    spec = PathFinder.find_spec(top, folders)
    if spec is None or spec.loader is None or not spec.has_location:
        return
    if top in sys.modules:
        _refuse_namesake(sys.modules[top], str(spec.origin), where)
        return
    sys.modules[top] = module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(top, None)
        raise


def _refuse_namesake(loaded: ModuleType, file: str, where: str) -> None:
    """A file named like a module that Python has already would be passed over in silence."""
    its = getattr(loaded, "__file__", None)
    which = f"{loaded.__name__!r} ({its or 'built in'})"
    if its is None or os.path.realpath(its) != os.path.realpath(file):
        raise InputError(
            f"{where}: there is {file}, but Python already has a module {which}; give your file another name"
        )
