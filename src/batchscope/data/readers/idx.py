"""IDX, the format of MNIST and EMNIST: a big-endian header (magic number, sizes), then unsigned bytes.

Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits" (1998).
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from batchscope.data.readers.compressed import read_bytes
from batchscope.errors import DataError

LABELS, IMAGES = 1, 3  # dimensions: magic number 0x0801 = 2049 for labels, 0x0803 = 2051 for images
_UNSIGNED_BYTE = 0x0800
_KINDS = {_UNSIGNED_BYTE + LABELS: "labels", _UNSIGNED_BYTE + IMAGES: "images"}


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Return the array of an IDX file of unsigned bytes, plain or compressed: [n] labels or [n, rows, columns] images.

    Raises DataError when the magic number is another or the length is not what the header says.
    """
    data = read_bytes(path)
    expected = _UNSIGNED_BYTE + dimensions
    magic = int.from_bytes(data[:4], "big")
    if len(data) < 4 or magic != expected:
        found = f"{magic} ({_KINDS.get(magic, 'not an IDX file of bytes')})"
        raise DataError(f"{path}: magic number {found}; expected {expected} ({_KINDS[expected]})")
    header = 4 + 4 * dimensions
    if len(data) < header:
        raise DataError(f"{path}: {len(data)} bytes, shorter than its header of {header}")
    shape = tuple(np.frombuffer(data, ">u4", dimensions, offset=4).tolist())
    promised = header + math.prod(shape)
    if len(data) != promised:
        raise DataError(f"{path}: the header says shape {shape}, that is {promised} bytes, but there are {len(data)}")
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def read_idx_pair(images: Path, labels: Path, size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return images [n, 1, size, size] and their labels [n]; DataError unless sizes and numbers agree."""
    pixels, classes = read_idx(images, IMAGES), read_idx(labels, LABELS)
    if pixels.shape[1:] != (size, size):
        raise DataError(f"{images}: images of {pixels.shape[1]} x {pixels.shape[2]}; expected {size} x {size}")
    if len(pixels) != len(classes):
        raise DataError(f"{images} has {len(pixels)} images but {labels} has {len(classes)} labels; expected as many")
    return pixels[:, None], classes
