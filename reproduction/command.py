"""How the commands of this package end: 0 done, else one message and the status that `batchscope` would give."""

from __future__ import annotations

import sys
from collections.abc import Callable

from batchscope.errors import BatchscopeError


def ended(name: str, main: Callable[[], int | None]) -> int:
    """The exit status of `python -m reproduction.NAME`: a wrong argument is a message, not a traceback."""
    try:
        return main() or 0
    except BatchscopeError as error:
        message, status = str(error), error.exit_status
    except OSError as error:
        if error.filename is None:
            raise
        message, status = f"{error.filename}: {error.strerror}", BatchscopeError.exit_status
    print(f"reproduction.{name}: {message}", file=sys.stderr)
    return status
