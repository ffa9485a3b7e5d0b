"""Which code an object of the user's own is: a hash of its source, so that changed code does not pass for the old."""

from __future__ import annotations

import ast
import io
import sys
import sysconfig
import tokenize
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from batchscope.digest import short_digest
from batchscope.errors import InputError
from batchscope.importing import import_object, parts_of

# Object -> its hash when it was first seen: a file that is edited later is not the code that runs.
_SEEN: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()


def source_of(name: str, what: str) -> str:
    """Return the first 16 hex digits of the sha256 of the code that ``package.module:name`` is part of.

    The code is the source of its module and of the modules in the same folder, or below it, that it imports; comments
    and blank lines do not count. Of an installed package it is the one module. InputError as for `import_object`, and
    for a module without a source file.
    """
    found = import_object(name, what)
    try:
        if found not in _SEEN:
            _SEEN[found] = _hash(parts_of(name, what)[0], f"{what} {name!r}")
        return _SEEN[found]
    except TypeError:  # no weak references to it: a number, say
        return _hash(parts_of(name, what)[0], f"{what} {name!r}")


def check_source(name: str, source: str, what: str) -> None:
    """Raise InputError unless the code of ``package.module:name`` is still that of this hash."""
    now = source_of(name, what)
    if now != source:
        raise InputError(
            f"{what} {name!r}: the code has changed (its hash is {now}, the study's {source}); restore it, or run the "
            "changed code into another --out"
        )


def files_of(name: str, what: str) -> dict[str, bytes]:
    """Return path -> content of the code that ``package.module:name`` needs, for a machine that has none of it.

    It is what `source_of` hashes, and the packages that lies in; paths begin at the folder in which the module's name
    begins. Nothing of an installed package: that has to be installed there too. InputError as for `source_of`.
    """
    source_of(name, what)
    module_name = parts_of(name, what)[0]
    file = Path(str(sys.modules[module_name].__file__))
    root = _root(module_name, file)
    if _is_installed(root):
        return {}
    found, looked = _own_files(module_name, file), {module_name}
    while packages := {package for module in found for package in _packages(module)} - looked:
        looked |= packages
        for package in packages:
            if place := _file_of(root, package):
                found |= _own_files(package, place)
    return {_place(module, path): path.read_bytes() for module, path in sorted(found.items())}


def _packages(module_name: str) -> Iterator[str]:
    """The packages that a module lies in: ``a`` and ``a.b`` of ``a.b.c``."""
    parts = module_name.split(".")
    return (".".join(parts[:length]) for length in range(1, len(parts)))


def _place(module_name: str, path: Path) -> str:
    """Where a module's file lies below the folder in which its name begins."""
    parts = module_name.split(".")
    return "/".join([*(parts if path.name == "__init__.py" else parts[:-1]), path.name])


def _hash(module_name: str, where: str) -> str:
    file = getattr(sys.modules[module_name], "__file__", None)
    if file is None or not Path(file).is_file():
        raise InputError(f"{where}: the module {module_name!r} has no source file; expected a module in a .py file")
    files = sorted(_own_files(module_name, Path(file)).items())
    return short_digest(*(f"{name}\n".encode() + _without_comments(path) for name, path in files))


def _own_files(module_name: str, file: Path) -> dict[str, Path]:
    """Module -> file, of a module and of all that it imports from the folder in which its name begins."""
    root = _root(module_name, file)
    found, waiting = {}, [(module_name, file)]
    while waiting:
        name, path = waiting.pop()
        found[name] = path
        if path.suffix == ".py" and not _is_installed(root):
            imported = ((other, _file_of(root, other)) for other in _imported(name, path))
            waiting += [(other, place) for other, place in imported if place and other not in found]
    return found


def _root(module_name: str, file: Path) -> Path:
    """The folder in which a module's name begins."""
    return file.resolve().parents[module_name.count(".") + (file.name == "__init__.py")]


def _is_installed(folder: Path) -> bool:
    paths = sysconfig.get_paths()
    return any(folder.is_relative_to(Path(paths[kind]).resolve()) for kind in ("stdlib", "purelib", "platlib"))


def _file_of(root: Path, module_name: str) -> Path | None:
    stem = root.joinpath(*module_name.split("."))
    return next((path for path in (stem.with_suffix(".py"), stem / "__init__.py") if path.is_file()), None)


def _imported(module_name: str, path: Path) -> Iterator[str]:
    """Every name that may be a module which this one imports."""
    package = module_name.split(".") if path.name == "__init__.py" else module_name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = [*above, *([node.module] if node.module else [])]
            yield from (".".join(part) for part in (base, *([*base, alias.name] for alias in node.names)) if part)


def _without_comments(path: Path) -> bytes:
    """The lines of a source file that do something; of any other file all of it."""
    if path.suffix != ".py":
        return path.read_bytes()
    with tokenize.open(path) as file:
        text = file.read()
    lines = text.split("\n")
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    return "\n".join(line.rstrip() for line in lines if line.strip()).encode()
