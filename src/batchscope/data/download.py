"""One file over HTTP, continued where an earlier attempt was cut: the downloader that pooch is given."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import requests

Progress = Callable[[str, int, int | None], None]  # (file, bytes so far, bytes in all or None)
_CHUNK = 2**15  # bytes; a cut connection loses the piece it was in
_TIMEOUT = (10, 60)  # seconds to connect, and between two pieces


@dataclass(frozen=True)
class ResumingDownload:
    """A downloader for pooch: called with (url, file to write, pooch), as pooch's own are.

    The bytes are kept in `part` until they are all there, so that the next attempt, in this process or a later one,
    asks only for the rest (HTTP Range). pooch checks the sum of the result, and tries again when it is wrong: then
    `part` is gone, and it starts from nothing. Raises requests' exceptions.
    """

    part: Path
    progress: Progress

    def __call__(self, url: str, output_file: str, _pooch: Any) -> None:
        download_rest(url, self.part, self.progress)
        os.replace(self.part, output_file)


def download_rest(url: str, part: Path, progress: Progress) -> None:
    """Append to `part` what it lacks of the file at `url`; start over when the server cannot send a range."""
    import requests  # imported on use: most users of this room never download

    have = part.stat().st_size if part.exists() else 0
    # Not "gzip": a .gz file served with that encoding would arrive decompressed and fail its checksum.
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            _accept_or_drop(part, have, response)
            return
        response.raise_for_status()
        resumed = response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        _write(response, part, have if resumed else 0, progress)


def _write(response: requests.Response, part: Path, done: int, progress: Progress) -> None:
    name = part.name.removesuffix(".part")
    length = response.headers.get("Content-Length")
    total = None if length is None else done + int(length)
    with part.open("ab" if done else "wb") as file:
        progress(name, done, total)
        for piece in response.iter_content(_CHUNK):
            file.write(piece)
            done += len(piece)
            progress(name, done, total)
    if total is not None and done != total:
        raise _cut(f"the connection was cut after {done} of {total} bytes of {name}")


def _accept_or_drop(part: Path, have: int, response: requests.Response) -> None:
    """The server has nothing after `have` bytes: either that is all, or the part is of another file."""
    if response.headers.get("Content-Range") == f"bytes */{have}":
        return
    part.unlink()
    raise _cut(f"{part.name} was longer than the file at {response.url}; starting over")


def _cut(message: str) -> Exception:
    """Return the exception that makes pooch try again."""
    import requests

    return requests.ConnectionError(message)
