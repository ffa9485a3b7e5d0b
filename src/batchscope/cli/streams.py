"""Where all text goes to the terminal: what becomes of everything that a command prints.

`terminal` stands between Python and the two streams for as long as a command runs. Names, paths and messages come from
files that others wrote, so control characters in them are shown and never acted on. A stream that cannot take any more
(a pipe whose reader left, a full disk, a closed descriptor) or cannot say a character (ASCII, Latin-1) changes neither
what the command does nor its exit status.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Callable, Iterator
from typing import IO, Any, cast

from batchscope.visible import visible


class SafeStream:
    """A stream of text that never fails: what it cannot take is lost, and `problem` says why.

    seen: shows control characters (see `visible`); `acted_on` is the same stream without, for the codes of rich.
    """

    def __init__(self, under: IO[str], seen: bool = True) -> None:
        self._under, self._seen = under, seen
        self.problem: OSError | None = None
        self.acted_on = SafeStream(under, seen=False) if seen else self

    def write(self, text: str) -> int:
        """Write what can be written; as many characters as were given are always done with."""
        begin = len(text) - len(text.removeprefix("\r"))  # where a progress bar of another library draws itself anew
        said = text[:begin] + visible(text[begin:]) if self._seen else text
        self._try(lambda: self._under.write(said))
        return len(text)

    def flush(self) -> None:
        """Hand on what is waiting."""
        self._try(self._under.flush)

    def _try(self, act: Callable[[], object]) -> None:
        if self.acted_on.problem is None:
            try:
                act()
            except OSError as error:
                self.acted_on.problem = error
            except ValueError:  # closed by someone else
                self.acted_on.problem = OSError(errno.EBADF, os.strerror(errno.EBADF))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._under, name)


@contextlib.contextmanager
def terminal() -> Iterator[None]:
    """Both standard streams as `SafeStream`s, until the block ends; then whatever is left is written, or is not."""
    given = sys.stdout, sys.stderr
    streams = [_ready(stream) for stream in given]
    sys.stdout, sys.stderr = (cast(Any, stream) for stream in streams)
    try:
        yield
    finally:
        _finish(*streams)
        sys.stdout, sys.stderr = given


def _ready(stream: IO[str] | None) -> SafeStream:
    """None: the descriptor was closed before Python started."""
    if stream is None:
        stream = open(os.devnull, "w")  # noqa: SIM115  stays open: no other file shall get its descriptor
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return SafeStream(stream)


def _finish(out: SafeStream, err: SafeStream) -> None:
    out.flush()
    problem = out.acted_on.problem
    if problem is not None and problem.errno != errno.EPIPE:
        err.write(f"standard output could not be written: {problem.strerror}\n")
    err.flush()
    for stream in (out, err):
        if stream.acted_on.problem is not None:
            _silence(stream)


def _silence(stream: SafeStream) -> None:
    """Let what is still waiting go nowhere: Python would try once more when it ends, and complain."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
