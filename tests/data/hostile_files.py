"""Data files that no honest program wrote."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

INPUTS, TARGETS = np.arange(35.0).reshape(7, 5), np.arange(7) % 3


def member(array: Any) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asarray(array))
    return file.getvalue()


def header(shape: object, descr: object = "<f8", version: int = 1, length: int | None = None) -> bytes:
    text = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode() + b"\n"
    size = len(text) if length is None else length
    return (
        b"\x93NUMPY"
        + bytes([version, 0])
        + (struct.pack("<H", size) if version == 1 else struct.pack("<I", size))
        + text
    )


def archive(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def with_inputs(path: Path, content: bytes, method: int = zipfile.ZIP_STORED) -> Path:
    return archive(path, {"inputs.npy": content, "targets.npy": member(TARGETS)}, method)


def patched(path: Path, before: bytes, offset: int, after: bytes) -> Path:
    """The file with other bytes at an offset behind every place where some bytes stand."""
    content = bytearray(with_inputs(path, member(INPUTS)).read_bytes())
    place = content.find(before)
    while place >= 0:
        content[place + offset : place + offset + len(after)] = after
        place = content.find(before, place + 1)
    path.write_bytes(content)
    return path


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return open, ("executed", "w")


def renamed_npy(path: Path) -> Path:
    path.write_bytes(member(INPUTS))
    return path


def no_array(path: Path) -> Path:
    return archive(path, {"inputs.npy": b"hello", "targets.npy": member(TARGETS)})


def zeros(path: Path, megabytes: int, pieces: int) -> Path:
    """Zeros, each number of the headers true; the stream goes on for so many pieces of 1 MiB only."""
    size = megabytes << 20
    start = header((size // 8, 1))
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = packer.compress(start) + packer.flush(zlib.Z_FULL_FLUSH)
    piece = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return deflated(path, start, first + pieces * piece + packer.flush(), len(start) + size)


HOSTILE = {
    "an .npy renamed": (renamed_npy, "a single array, as np.save writes it"),
    "a member that is no array": (no_array, "inputs.npy is no array"),
    "an empty member": (lambda path: with_inputs(path, b""), "inputs.npy is no array"),
    "encrypted": (lambda path: patched(path, b"PK\x01\x02", 8, b"\x01"), "is encrypted"),
    "compressed by an unknown method": (lambda path: patched(path, b"PK\x01\x02", 10, b"\x63"), "by method 99"),
    "compressed by a rare method": (lambda path: with_inputs(path, member(INPUTS), zipfile.ZIP_LZMA), "by method 14"),
    "a header of no literal": (lambda path: with_inputs(path, header((7, 5)).replace(b"{", b"[")), "damaged header"),
    "a header of 4 GB": (
        lambda path: with_inputs(path, header((7, 5), version=2, length=2**32 - 1)),
        "has a header of",
    ),
    "a header of brackets": (
        lambda path: with_inputs(path, b"\x93NUMPY\x01\x00" + struct.pack("<H", 9000) + b"(" * 9000),
        "damaged header",
    ),
    "a shape below 0": (lambda path: with_inputs(path, header((-7, 5))), "expected sizes of 0 or more"),
    "a giant shape": (lambda path: with_inputs(path, header((10**12, 10**12))), "says that it takes"),
    "more than there is": (lambda path: with_inputs(path, member(INPUTS)[:-8]), "says that it takes 408 bytes"),
    "less than there is": (lambda path: with_inputs(path, member(INPUTS) + b"x"), "says that it takes 408 bytes"),
    "3 GiB out of nothing": (lambda path: zeros(path, 3 << 10, 3), "cannot hold the 32212255.. bytes it promises"),
    "10 GiB out of 10 MiB": (lambda path: zeros(path, 10 << 10, 10 << 10), "its arrays take 10.0 GiB"),
    "a pickle": (lambda path: with_inputs(path, pickle.dumps(Bomb())), "is no array"),
    "objects": (
        lambda path: with_inputs(path, header((1, 1), "|O") + pickle.dumps([[Bomb()]])),
        "holds Python objects, which run code",
    ),
    "a flipped bit": (lambda path: patched(path, member(INPUTS)[-8:], 0, b"\x01"), "Bad CRC-32"),
    "cut in the middle": (
        lambda path: path.write_bytes(with_inputs(path, member(INPUTS)).read_bytes()[:300]),
        "not a whole .npz file",
    ),
    "twice the same array": (
        lambda path: path.write_bytes(with_inputs(path, member(INPUTS)).read_bytes().replace(b"targets", b"inputs\0")),
        "found the arrays",
    ),
    "targets without a dimension": (
        lambda path: archive(path, {"inputs.npy": member(INPUTS), "targets.npy": member(3)}),
        r"targets have the shape \(\)",
    ),
    "a label of 10^15": (
        lambda path: archive(path, {"inputs.npy": member(INPUTS[:2]), "targets.npy": member([0, 10**15])}),
        "a label is 1000000000000000",
    ),
    "5000 members": (
        lambda path: archive(path, {f"array{k}.npy": b"" for k in range(5000)}),
        r"found the arrays array0, .*, array7, \.\.\.; expected inputs and targets",
    ),
    "a folder": (lambda path: path.mkdir(), "not a whole .npz file"),
    "empty": (lambda path: path.write_bytes(b""), "not a whole .npz file"),
}


def deflated(path: Path, array_header: bytes, stream: bytes, size: int) -> Path:
    """An archive whose inputs are a deflated stream that stands for so many bytes, whatever is in it."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("targets.npy", member(TARGETS))
        info = zipfile.ZipInfo("inputs.npy")
        with file.open(info, "w") as out:
            out.write(stream)
        info.compress_type, info.file_size = zipfile.ZIP_DEFLATED, size
        info.compress_size = len(stream)
        assert len(array_header) < size
    content = path.read_bytes()
    local = content.index(b"PK\x03\x04", 10)  # the second member's own copy of the method
    path.write_bytes(content[: local + 8] + struct.pack("<H", zipfile.ZIP_DEFLATED) + content[local + 10 :])
    return path
