"""Layout: where the examples are inside a tensor, and the view that puts them first.

Models fold the batch into other axes: [N, T, d] becomes [N·T, d], [T, N, d] or [T·N, d], attention has [N·heads, T, d].
A `Layout` names the axis that holds the examples and, when it holds N·q entries, whether examples vary slowly
("major": the entries of one example are neighbours) or fast ("minor").

The split form [N, ..., q, ...] is such that entry i has exactly the shape the tensor would have in a batch that
consists of example i alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """Axis `axis` holds N·q entries, example-major unless `minor`."""

    axis: int
    minor: bool = False

    def shape_of_one(self, shape: torch.Size, num_examples: int) -> tuple[int, ...] | None:
        """The shape for one example of a tensor of this layout; None when the examples do not fit into it."""
        if self.axis >= len(shape) or shape[self.axis] % num_examples:
            return None
        return (*shape[: self.axis], shape[self.axis] // num_examples, *shape[self.axis + 1 :])

    def split(self, x: Tensor, num_examples: int) -> Tensor:
        """[..., N·q, ...] -> [N, ..., q, ...], a view where possible."""
        q = x.shape[self.axis] // num_examples
        if q == 1 and self.axis == 0:
            return x.unsqueeze(1)
        if q == 1:
            return x.movedim(self.axis, 0).unsqueeze(self.axis + 1)
        sizes = (q, num_examples) if self.minor else (num_examples, q)
        shape = (*x.shape[: self.axis], *sizes, *x.shape[self.axis + 1 :])
        return x.reshape(shape).movedim(self.axis + self.minor, 0)


ROUNDINGS, LOW_ROUNDINGS = 2**10, 4  # of a tensor's largest entry: threaded kernels add up in another order at each run


class Mixed:
    """In place of a layout: the tensor depends on the examples, but not one entry after another on one example."""


MIXED = Mixed()


FIRST_AXIS = Layout(0)
REPLACED = 1  # the example that is another one in the third run


def find_layout(large: Tensor, small: Tensor, changed: Tensor, num_large: int, num_small: int) -> Layout | Mixed | None:
    """Where the examples are in a tensor that was seen in three runs; None when it does not depend on them.

    large, small: for `num_large` and for the first `num_small` of the same examples (only the shape of `small` is
    read): the axis whose size scales holds the examples. changed: as `large`, with example REPLACED another one: what
    changes tells how the examples are interleaved, and must be that example's entries alone.
    """
    if large.shape != changed.shape or large.ndim != small.ndim:
        return MIXED
    changes = (large - changed).abs().nan_to_num() if _is_inexact(large) else (large != changed).float()
    allowed = _rounding(large)
    if large.shape == small.shape:
        return MIXED if not large.numel() or float(changes.max()) > allowed else None
    axes = [axis for axis in range(large.ndim) if large.shape[axis] != small.shape[axis]]
    axis = axes[0]
    if len(axes) > 1 or large.shape[axis] * num_small != small.shape[axis] * num_large or not large.numel():
        return MIXED
    by_entry = changes.movedim(axis, 0).reshape(large.shape[axis], -1)
    layout = Layout(axis, minor=not _is_major(large.movedim(axis, 0), by_entry.sum(1), num_large))
    others = layout_of_entries(layout, by_entry.amax(1), num_large)
    others[REPLACED] = 0
    return layout if float(others.max()) <= allowed else MIXED


def layout_of_entries(layout: Layout, by_entry: Tensor, num_examples: int) -> Tensor:
    """[N q] -> a copy [N, q]."""
    return Layout(0, layout.minor).split(by_entry, num_examples).reshape(num_examples, -1).clone()


def _is_major(values: Tensor, changes: Tensor, num_examples: int) -> bool:
    """Whether the entries of one example are neighbours. changes: [N q], by how much each entry of axis 0 changed."""
    q = len(changes) // num_examples
    if q == 1:
        return True
    major, minor = changes.view(num_examples, q)[REPLACED].sum(), changes.view(q, num_examples)[:, REPLACED].sum()
    if float(major + minor) > 0:
        return bool(major >= minor)
    rows = values.reshape(q, num_examples, -1)  # nothing changed: the same for all examples, then, in the right order
    blocks = values.reshape(num_examples, q, -1)
    return not bool((rows == rows[:, :1]).all()) or bool((blocks == blocks[:1]).all())


def _is_inexact(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


def _rounding(tensor: Tensor) -> float:
    """By how much entries may differ that would be equal without rounding."""
    if not _is_inexact(tensor) or not tensor.numel():
        return 0.0
    roundings = LOW_ROUNDINGS if tensor.dtype.itemsize < 4 else ROUNDINGS
    largest = float(tensor.abs().nan_to_num(posinf=0.0).max())
    return roundings * torch.finfo(tensor.dtype).eps * largest
