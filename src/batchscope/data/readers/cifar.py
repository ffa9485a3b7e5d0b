"""CIFAR-10, binary version: records of one label byte and 3 x 32 x 32 pixels (red, green, blue; row-major).

A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images" (2009).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from batchscope.data.readers.compressed import read_bytes
from batchscope.errors import DataError

RECORD_BYTES = 1 + 3 * 32 * 32


def read_cifar_batch(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return images [n, 3, 32, 32] and labels [n] of one batch file, plain or compressed, of any number of records."""
    data = read_bytes(path)
    if not data or len(data) % RECORD_BYTES:
        raise DataError(
            f"{path}: {len(data)} bytes once decompressed; expected a multiple of {RECORD_BYTES} (one record)"
        )
    records = np.frombuffer(data, np.uint8).reshape(-1, RECORD_BYTES)
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0]
