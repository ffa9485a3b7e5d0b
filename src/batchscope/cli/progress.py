"""How a run shows itself: one live line on a terminal, a plain line now and then elsewhere. On standard error."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator

from rich.live import Live
from rich.text import Text

from batchscope.analysis.formatting import duration
from batchscope.cli.console import console
from batchscope.running.progress import OnStatus, Status

# Seconds between plain lines: a log of an hour's run stays readable.
PLAIN_INTERVAL = 10.0


@contextlib.contextmanager
def progress_display(quiet: bool = False) -> Iterator[OnStatus]:
    """Yield what `run` shall call with each status."""
    screen = console(stderr=True)
    if quiet:
        yield lambda status: None
    elif screen.is_terminal:
        with Live(console=screen, refresh_per_second=4, transient=True) as live:
            yield lambda status: live.update(Text(sentence(status), overflow="ellipsis", no_wrap=True))
    else:
        yield _PlainLines()


class _PlainLines:
    """Prints the first status, the last, and at most one in PLAIN_INTERVAL seconds between."""

    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self, status: Status) -> None:
        is_last = status.finished_cohort and status.trials_done == status.trials_total
        if time.monotonic() >= self._next or is_last:
            self._next = time.monotonic() + PLAIN_INTERVAL
            print(sentence(status), file=sys.stderr, flush=True)


def sentence(status: Status) -> str:
    """Return e.g. "120/1040 trials, 3 min left | best 784-20-10 relu B=32: 3 epochs | 784-20-10 relu B=64, 5 seeds"."""
    parts = [f"{status.trials_done}/{status.trials_total} trials"]
    if status.crashed:
        parts[0] += f" ({status.crashed} crashed)"
    if status.seconds_left is not None and status.trials_done < status.trials_total:
        parts[0] += f", {'up to about' if status.counts_all_epochs else 'about'} {duration(status.seconds_left)} left"
    if status.best is not None:
        best = status.best
        parts.append(f"best {best.shape} B={best.batch_size}: {best.epochs_to_target:g} epochs")
    return " | ".join([*parts, status.latest] if status.latest else parts)
