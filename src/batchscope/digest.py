"""Short names for contents: of trials, data sets and the code of users. No torch."""

from __future__ import annotations

import hashlib

DIGITS = 16


def short_digest(*parts: str | bytes | memoryview) -> str:
    """Return the first 16 hex digits of the sha256 over the parts, one after another; text as UTF-8.

    >>> short_digest("batch", b"scope") == short_digest("batchscope")
    True
    """
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part)
    return digest.hexdigest()[:DIGITS]
