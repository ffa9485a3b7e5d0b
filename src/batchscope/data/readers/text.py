"""Text of any file as sequences of bytes, each byte predicting the next."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from batchscope.data.dataset import RawData
from batchscope.errors import DataError, InputError

BYTES = 256
SEQUENCE_LENGTH = 64


def read_text(*, path: Path, sequence_length: int = SEQUENCE_LENGTH, heldout: float = 0.1) -> RawData:
    """Cut a file into sequences; a token is a byte, and its target the byte after it.

    heldout: the part of the file at its end that is held out; 0 for none.
    """
    if not 0 <= heldout < 1:
        raise InputError(f"heldout = {heldout}: expected the part of the file to hold out, at least 0 and below 1")
    try:
        content = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); expected a file of text") from error
    end = round(len(content) * (1 - heldout))
    return sequences(
        content[:end],
        content[end:] if heldout else None,
        sequence_length,
        BYTES,
        name=path.name,
        title=f"{path.name}, bytes",
        source=f"Read from {path}: sequences of {sequence_length} bytes, the last {heldout:.0%} held out.",
    )


def sequences(
    train: NDArray[np.uint8],
    heldout: NDArray[np.uint8] | None,
    length: int,
    num_tokens: int,
    *,
    name: str,
    title: str,
    source: str,
) -> RawData:
    """Two streams of tokens as examples [n, length] and the next token of each as its target; the rest is dropped.

    num_tokens: the vocabulary. InputError for a length below 1, DataError for streams without a whole sequence.
    """
    if length < 1:
        raise InputError(f"sequence_length = {length}: expected at least 1")
    inputs, targets = _cut(name, train, length)
    heldout_inputs, heldout_targets = (None, None) if heldout is None else _cut(name, heldout, length)
    return RawData(
        name=name,
        title=title,
        inputs=inputs,
        targets=targets,
        heldout_inputs=heldout_inputs,
        heldout_targets=heldout_targets,
        num_classes=num_tokens,
        source=source,
        scheme="tokens",
    )


def _cut(name: str, tokens: NDArray[np.uint8], length: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    count = (len(tokens) - 1) // length
    if count < 1:
        raise DataError(
            f"{name}: {len(tokens)} tokens make no sequence of {length}; take a longer text, a smaller "
            "sequence_length, or heldout = 0"
        )
    return tokens[: count * length].reshape(count, length), tokens[1 : count * length + 1].reshape(count, length)
