"""Where data is looked for, in which order, and what to say when it is not there."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from batchscope.data.readers.compressed import SUFFIXES
from batchscope.data.registry import FILE_SETS, FileLayout, FileSet
from batchscope.errors import DataError

VARIABLE = "BATCHSCOPE_DATA"
PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Located:
    """A data set found: its folder, the layout it is stored in, and the path of each of the layout's roles."""

    folder: Path
    layout: FileLayout
    paths: Mapping[str, Path]


def search_path(data_dir: PathLike | None = None) -> list[tuple[str, Path]]:
    """Return (what it is, folder) in the order searched; folders that do not exist are listed too.

    `data_dir`, $BATCHSCOPE_DATA, ../shared/data beside the checkout, the user's cache, the system's data folders.
    """
    places: list[tuple[str, Path]] = []
    if data_dir is not None:
        places.append(("--data-dir", Path(data_dir).expanduser()))
    if os.environ.get(VARIABLE):
        places.append((f"${VARIABLE}", Path(os.environ[VARIABLE]).expanduser()))
    if (checkout := _checkout()) is not None:
        places.append(("beside the checkout", checkout.parent / "shared" / "data"))
    places.append(("user cache", user_cache()))
    places.append(("system", platformdirs.site_data_path("batchscope", appauthor=False)))
    places.extend(("system", Path(folder)) for folder in ("/usr/local/share/datasets", "/usr/share/datasets"))
    return places


def user_cache() -> Path:
    """Return the user's cache folder of data sets, e.g. ~/.cache/batchscope/data on Linux."""
    return platformdirs.user_cache_path("batchscope", appauthor=False) / "data"


def storage_root(data_dir: PathLike | None = None) -> Path:
    """Return the data folder that downloads go to: `data_dir`, $BATCHSCOPE_DATA or the user's cache."""
    chosen = data_dir or os.environ.get(VARIABLE)
    return Path(chosen).expanduser() if chosen else user_cache()


def locate(name: str, data_dir: PathLike | None = None) -> Located:
    """Return where the files of the set `name` are. Raises DataError listing the places searched, and the remedy.

    A `data_dir` that does not exist is refused rather than passed over: it was meant.
    """
    if data_dir is not None and not Path(data_dir).expanduser().is_dir():
        raise DataError(f"data folder {os.fspath(data_dir)!r} (--data-dir) does not exist or is not a folder")
    found = next(_matches(FILE_SETS[name], search_path(data_dir)), None)
    if found is None:
        raise DataError(_not_found(FILE_SETS[name], search_path(data_dir)))
    return found


def find(name: str, data_dir: PathLike | None = None) -> Located | None:
    """Return where the files of the set `name` are, or None."""
    return next(_matches(FILE_SETS[name], search_path(data_dir)), None)


def _checkout() -> Path | None:
    """Return the root of the checkout this package is run from; None when it was installed as a copy."""
    root = Path(__file__).resolve().parents[3]
    return root if (root / "pyproject.toml").is_file() and (root / "src" / "batchscope").is_dir() else None


def _matches(entry: FileSet, places: list[tuple[str, Path]]) -> Iterator[Located]:
    for _, root in places:
        for folder in (root / sub for sub in entry.folders):
            for layout in entry.layouts:
                paths = {role: path for role, stem in layout.files.items() if (path := _stored(folder, stem))}
                if len(paths) == len(layout.files):
                    yield Located(folder, layout, paths)


def _stored(folder: Path, stem: str) -> Path | None:
    """Return the path of `stem` in `folder`, plain or compressed, or None."""
    return next((path for suffix in SUFFIXES if (path := folder / f"{stem}{suffix}").is_file()), None)


def _not_found(entry: FileSet, places: list[tuple[str, Path]]) -> str:
    stems = list(entry.layouts[0].files.values())
    lines = [f"{entry.name}: not found. Looked for {', '.join(stems)} (plain, .gz, .xz or .bz2) in"]
    lines += [f"  {root} ({what}{_what_is_there(entry, root)})" for what, root in places]
    folders = ", ".join(f"{sub}/" if sub else "the folder itself" for sub in entry.folders)
    lines += [f"  in each: {folders}", f"Remedy: {entry.remedy}; --data-dir or ${VARIABLE} names another folder."]
    return "\n".join(lines)


def _what_is_there(entry: FileSet, root: Path) -> str:
    if not root.is_dir():
        return "; does not exist"
    for folder in (root / sub for sub in entry.folders):
        missing = [stem for stem in entry.layouts[0].files.values() if _stored(folder, stem) is None]
        if 0 < len(missing) < len(entry.layouts[0].files):
            return f"; incomplete, without {', '.join(missing)}"
    return ""
