"""One command on one odd input, in a process of its own: what came of it, and what it took."""

from __future__ import annotations

import os
import re
import resource
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MOST_SECONDS, MOST_BYTES = 2.0, 10**9  # of a refusal: of the processor, so that a busy machine counts for nothing
HANGS = 60  # seconds of the processor after which any attempt is ended
STATUSES = (0, 1, 2)  # done; trials crashed, as none is trained here; refused


@dataclass(frozen=True)
class Attempt:
    """kind: of input. words: the command. status: of the process, negative for a signal. text: what it printed."""

    kind: str
    words: tuple[str, ...]
    status: int
    seconds: float
    peak: int
    text: str

    @property
    def refused(self) -> bool:
        """Whether the input was refused."""
        return self.status == 2

    @property
    def problem(self) -> str | None:
        """What is wrong with how it ended; None where nothing is."""
        if "Traceback" in self.text:
            return "a traceback"
        if self.status not in STATUSES:
            return f"ended with {self.status}"
        if len(self.text) > 100_000:
            return f"a message of {len(self.text)} characters"
        if self.refused and not re.search(r"^(batchscope \w+: |usage: )", self.text, re.MULTILINE):
            return "a refusal without a message"
        if self.refused and self.seconds > MOST_SECONDS:
            return f"a refusal after {self.seconds:.1f} s"
        if self.refused and self.peak > MOST_BYTES:
            return f"a refusal that took {self.peak / 1e6:.0f} MB"
        return None


def attempt(kind: str, words: Sequence[str], folder: Path) -> Attempt:
    """Run a command in a folder, in a copy of this process, which has loaded everything already."""
    output = folder / ".output"
    child = os.fork()
    if child == 0:
        _become(words, folder, output)
    _, code, used = os.wait4(child, 0)
    return Attempt(
        kind,
        tuple(words),
        os.waitstatus_to_exitcode(code),
        used.ru_utime + used.ru_stime,
        1024 * used.ru_maxrss,
        output.read_text(errors="replace") if output.exists() else "",
    )


def _become(words: Sequence[str], folder: Path, output: Path) -> None:
    """The child: never returns."""
    status = 99
    try:
        os.chdir(folder)
        file = os.open(output, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(file, stream)
        resource.setrlimit(resource.RLIMIT_CPU, (HANGS, HANGS))
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        from batchscope.cli.main import main

        status = main(list(words))
    except SystemExit as error:  # argparse
        status = error.code if isinstance(error.code, int) else 99
    except BaseException:
        import traceback

        os.write(2, traceback.format_exc().encode(errors="replace"))
    finally:
        os._exit(status)
