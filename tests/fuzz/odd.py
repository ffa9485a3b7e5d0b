"""Odd values, and odd bytes made of good ones."""

from __future__ import annotations

import datetime
import random
from typing import Any

DIGITS = "@digits@"  # stands for an integer of 5000 digits, which Python itself does not write

VALUES: tuple[Any, ...] = (
    0, -1, 1, 2, 7, 255, 2**31, 2**53, 2**63 - 1, 2**63, 10**12, 10**20, 10**400, DIGITS,
    0.0, -0.0, -1.5, 1e-308, 1e308, 5e-324, 1e-12, 1e12, 1.0000000001, float("inf"), float("-inf"), float("nan"),
    True, False, "", " ", "x", "0", "sgd", "adam", "relu", "tanh", "linear", "lenet", "resnet18_blocks", "float64",
    "digits", "synthetic", "gisette_like", "mnist", "none.npz", "a:b", ":", "a b:c", "../x", "a\0b", "a\x1b[31mb",
    "\u202eabc", "é" * 50, "x" * 10**4, "[red]", "{}", "%s%n", "'; DROP TABLE rows; --",
    [], [[]], [1], [0], [-1], [1, 1], [1.5], ["x"], [[1, 2]], [[1, 2], [1, 2]], [[0, 0]], [[1, 2, 3]], [10**9],
    list(range(1, 40)), list(range(1, 3000)), [[10**5, 1]], [[1, 2**31]], [[[[[[[[[1]]]]]]]]], [True], [DIGITS],
    {}, {"x": 1}, {"train_accuracy": 2}, {"train_loss": 1e-300}, {"train_accuracy": 0.9, "train_loss": 0.1},
    {"min": 1e-308, "max": 1e308}, {"min": 1.0, "max": 0.1}, {"min": 0.1, "max": 0.2, "ratio": 1.0},
    {"min": 0.1, "max": 0.2, "ratio": 1 + 1e-12}, {"a": {"b": {"c": {"d": [{}]}}}},
    {"d_in": 10**9}, {"d_in": "x"}, {"teacher_widths": [10**6, 10**6]}, {"noise": 1e308}, {"noise": float("nan")},
    {"num_heldout": 10**12}, {"seed": 1}, {"d_out": 10**5, "d_in": 10**4},
    datetime.date(2018, 12, 3), datetime.datetime(2018, 12, 3, 1, 2, 3), datetime.time(1, 2),
)  # fmt: skip

PIECES = (b"", b"\0", b"\xff", b"[", b"]", b"{", b"}", b'"', b"'''", b"=", b"\n", b"#", b"[[studies]]\n", b"[" * 3000,
          b"a.b.c = 1\n", b"\xef\xbb\xbf", b"\r", b"9" * 5000, b"1e999", b"nan", b"\\u0000", b"PK\x03\x04")  # fmt: skip


def value(chance: random.Random) -> Any:
    """One of the odd values, or a number near one."""
    found = chance.choice(VALUES)
    if type(found) is int and chance.random() < 0.3:
        return found + chance.choice((-1, 1))
    return found


def bytes_of(content: bytes, chance: random.Random) -> bytes:
    """The content with a few bytes flipped, cut out, doubled, or with something put between."""
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(content) + 1)
        to = min(len(content), at + chance.choice((1, 2, 8, 100, 5000)))
        how = chance.randrange(6)
        if how == 0 and content:
            at = min(at, len(content) - 1)
            content = content[:at] + bytes([content[at] ^ (1 << chance.randrange(8))]) + content[at + 1 :]
        elif how == 1:
            content = content[:at] + content[to:]
        elif how == 2:
            content = content[:to] + content[at:]
        elif how == 3:
            content = content[:at] + chance.choice(PIECES) + content[at:]
        elif how == 4:
            content = content[:at] + chance.randbytes(to - at) + content[to:]
        elif chance.random() < 0.3:
            content = content[:at]
    return content
