"""Getting a data set from its public home: checksums, progress, retry, resume; archives unpacked."""

from __future__ import annotations

import logging
import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, cast

from batchscope.data.download import Progress, ResumingDownload
from batchscope.data.locate import PathLike, find, storage_root
from batchscope.data.registry import BUILT_IN, FILE_SETS, Download, FileSet
from batchscope.errors import DataError, InputError, choose

_RETRIES = 3  # per mirror, each continuing where the last was cut


def fetch(name: str, *, data_dir: PathLike | None = None, progress: Progress = lambda *_: None) -> Path:
    """Download the files of the set `name` that are not there yet, check them, and return their folder.

    The folder is that of the set inside `data_dir`, $BATCHSCOPE_DATA or the user's cache, the first that is given.
    Without `data_dir`, a set already found elsewhere on the search path is left where it is.
    progress: called with (file, bytes so far, bytes in all or None). An interrupted download is continued by the
    next call. Raises InputError for a set that is not fetched, DataError when no mirror serves a right file or the
    folder cannot be written.
    """
    entry = _fetchable(name)
    folder = storage_root(data_dir) / entry.folders[0]
    if data_dir is None and (elsewhere := find(name)) and elsewhere.folder != folder:
        return elsewhere.folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for download in entry.downloads:
            if not _is_stored(folder, entry, download):
                _get(folder, entry, download, progress)
    except OSError as error:
        raise DataError(
            f"cannot write to {folder} ({error.strerror or error}); name another with --data-dir"
        ) from error
    return folder


def matches(path: Path, checksum: str) -> bool:
    """Say whether the file has this checksum: "md5:..." or a bare sha256."""
    import pooch

    algorithm, _, digest = checksum.rpartition(":")
    return str(pooch.file_hash(str(path), alg=algorithm or "sha256")) == digest


def _fetchable(name: str) -> FileSet:
    choose("data set", name, (*FILE_SETS, *BUILT_IN))
    if name in BUILT_IN:
        raise InputError(f"{name} needs no files: {BUILT_IN[name].what}")
    if not FILE_SETS[name].downloads:
        raise InputError(f"{name} cannot be fetched: {FILE_SETS[name].no_download}")
    return FILE_SETS[name]


def _is_stored(folder: Path, entry: FileSet, download: Download) -> bool:
    paths = [folder / file for file in download.stored]
    return all(path.is_file() for path in paths) and all(
        matches(path, entry.checksums[path.name]) for path in paths if path.name in entry.checksums
    )


def _get(folder: Path, entry: FileSet, download: Download, progress: Progress) -> None:
    failures = []
    for url in download.urls:
        try:
            _get_from(url, folder, download, progress)
            break
        except (ValueError, ConnectionError) as error:  # a wrong checksum; a mirror that fails
            failures.append(f"  {url}: {error}")
    else:
        raise DataError(
            f"{entry.name}: could not fetch {download.file} from\n" + "\n".join(failures) + "\nRemedy: run the same "
            f"command again (it continues), or put {', '.join(download.stored)} into {folder} by other means"
        )
    if download.members:
        _unpack(folder / download.file, folder, entry, download.members)


def _get_from(url: str, folder: Path, download: Download, progress: Progress) -> None:
    """Fetch one file through pooch, which checks it, retries, and moves it into place only when it is right."""
    import pooch
    import requests

    pooch.get_logger().setLevel(logging.WARNING)  # its notes would run into the progress bar
    files = pooch.create(
        path=folder,
        base_url="",
        registry={download.file: download.checksum},
        urls={download.file: url},
        retry_if_failed=_RETRIES,
    )
    try:
        files.fetch(download.file, downloader=ResumingDownload(folder / f"{download.file}.part", progress))
    except requests.RequestException as error:
        raise ConnectionError(str(error)) from error


def _unpack(archive: Path, folder: Path, entry: FileSet, members: tuple[str, ...]) -> None:
    """Take `members` out of a zip or tar archive, each into place only when whole and right; then drop the archive."""
    missing = set(members)
    for name, opened in _archive_files(archive):
        if name in missing:
            part = folder / f"{name}.part"
            with part.open("wb") as file, opened() as stream:
                shutil.copyfileobj(stream, file)
            if name in entry.checksums and not matches(part, entry.checksums[name]):
                part.unlink()
                raise DataError(f"{archive}: its member {name} has another checksum than {entry.checksums[name]}")
            os.replace(part, folder / name)
            missing.remove(name)
    if missing:
        raise DataError(f"{archive}: holds no {', '.join(sorted(missing))}; expected {', '.join(members)}")
    archive.unlink()


def _archive_files(archive: Path) -> Iterator[tuple[str, Callable[[], IO[bytes]]]]:
    """Yield (name without folder, function opening it) of every regular file in a zip or tar archive."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            for info in opened.infolist():
                if not info.is_dir():
                    yield Path(info.filename).name, partial(opened.open, info)
    else:
        with tarfile.open(archive) as tar:
            for member in tar:
                if member.isfile():
                    yield Path(member.name).name, partial(cast(Callable[..., IO[bytes]], tar.extractfile), member)
