"""Data files: arrays of every kind, archives made to hurt, and good ones with other bytes."""

from __future__ import annotations

import gzip
import io
import random
from pathlib import Path
from typing import Any

import numpy as np

from tests.data.hostile_files import HOSTILE, archive, header, member
from tests.fuzz import odd, study_files

TYPES = ("f8", "f4", "f2", ">f8", "i8", "u1", "?", "c16", "U3", "S2", "M8[s]", "O", "i4,f8", "V5")
SHAPES = ((7, 5), (7, 1, 4, 4), (7,), (), (0, 5), (7, 0), (1, 1), (7, 5, 3), (2, 2, 2, 2, 2), (6, 5), (1,) * 32)
NAMES = ("inputs", "targets", "heldout_inputs", "heldout_targets", "arr_0", "../inputs", "a/", "x" * 300, "a\x1bb")
LABELS = (range(7), [0] * 7, [-1] * 7, [2**40] * 7, [10**6] * 7, range(6), [1e308] * 7, [float("nan")] * 7, 3)


def make(path: Path, chance: random.Random) -> None:
    """Write an odd .npz file to a path."""
    how = chance.random()
    if how < 0.2:
        HOSTILE[chance.choice([name for name in HOSTILE if "GiB" not in name])][0](path)
        return
    if how < 0.7:
        archive(path, _members(chance), chance.choice((0, 8)))
        return
    good = io.BytesIO()
    chance.choice((np.savez, np.savez_compressed))(good, inputs=np.eye(7, 5), targets=np.arange(7) % 3)
    path.write_bytes(odd.bytes_of(good.getvalue(), chance))


def make_idx(path: Path, chance: random.Random) -> None:
    """Write an odd file of MNIST's form to a path."""
    images = b"\0\0\x08\x03" + b"".join(size.to_bytes(4, "big") for size in (3, 28, 28)) + bytes(3 * 28 * 28)
    labels = b"\0\0\x08\x01" + (3).to_bytes(4, "big") + bytes([0, 1, 2])
    for name, content in {
        "train-images-idx3-ubyte": images,
        "train-labels-idx1-ubyte": labels,
        "t10k-images-idx3-ubyte": images,
        "t10k-labels-idx1-ubyte": labels,
    }.items():
        odd_one = odd.bytes_of(content, chance) if chance.random() < 0.5 else content
        zipped = gzip.compress(odd_one, 1)
        (path / f"{name}.gz").write_bytes(odd.bytes_of(zipped, chance) if chance.random() < 0.3 else zipped)


def study(path: Path) -> bytes:
    """A study on the file."""
    from tests.fuzz.study_files import _written

    return _written({**study_files.DIGITS, "dataset": str(path), "batch_sizes": [2]})


def _members(chance: random.Random) -> dict[str, bytes]:
    members = {
        "inputs.npy": _array(chance),
        "targets.npy": member(np.asarray(chance.choice(LABELS if chance.random() < 0.5 else LABELS[:2]))),
    }
    if chance.random() < 0.3:
        members |= {"heldout_inputs.npy": _array(chance), "heldout_targets.npy": _array(chance)}
    if chance.random() < 0.3:
        members[chance.choice(NAMES) + chance.choice((".npy", ""))] = _array(chance)
    if chance.random() < 0.2:
        del members[chance.choice(sorted(members))]
    return members


def _array(chance: random.Random) -> bytes:
    if chance.random() < 0.15:
        shape: Any = chance.choice(
            (*SHAPES, (10**12, 10**12), (-1, 5), (2**62, 4), "x", None, (1.5,), [7, 5], (True, 5))
        )
        return header(
            shape, chance.choice((*TYPES, "<f8", "V1000000000", 5, None, "x")), chance.choice((1, 2, 3, 9))
        ) + bytes(280)
    shape = chance.choice(SHAPES[:2] if chance.random() < 0.6 else SHAPES)
    kind = chance.choice(TYPES[:6] if chance.random() < 0.8 else TYPES)
    if kind == "O":
        return header(shape, "|O") + b"\x80\x04N."
    array = np.zeros(shape, kind)
    if array.dtype.kind == "f" and array.size and chance.random() < 0.3:
        array[(0,) * array.ndim] = chance.choice((np.nan, np.inf, 1e308, -1e-300))
    return member(array)
