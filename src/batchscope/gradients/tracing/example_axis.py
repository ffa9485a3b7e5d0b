"""Layout: where the examples are inside a tensor, and the view that puts them first.

Models fold the batch into other axes: [N, T, d] becomes [N·T, d], [T, N, d] or [T·N, d], attention has [N·heads, T, d].
A `Layout` names the axis that holds the examples and, when it holds N·q entries, whether examples vary slowly
("major": the entries of one example are neighbours) or fast ("minor").

The split form [N, ..., q, ...] is such that entry i has exactly the shape the tensor would have in a batch that
consists of example i alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """Axis `axis` holds N·q entries, example-major unless `minor`."""

    axis: int
    minor: bool = False

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


def find_layout(large: Tensor, small: Tensor, num_large: int, num_small: int, changes: Tensor | None) -> Layout | None:
    """Layout of a tensor seen in two batches of the same examples; None when its shape does not depend on the batch.

    large, small: the tensor for `num_large` and `num_small` examples: the axis whose size scales holds the examples.
    changes: by how much each entry of `large` changed when example 1 alone was replaced: tells major from minor. What
        changed elsewhere is rounding.
    """
    if large.shape == small.shape or large.ndim != small.ndim:
        return None
    axes = [axis for axis in range(large.ndim) if large.shape[axis] != small.shape[axis]]
    axis = axes[0]
    if len(axes) > 1 or large.shape[axis] * num_small != small.shape[axis] * num_large:
        return None
    q = large.shape[axis] // num_large
    if q == 1 or changes is None:
        return Layout(axis)
    by_entry = changes.movedim(axis, 0).flatten(1).sum(1)
    is_major = bool(by_entry.view(num_large, q)[1].sum() >= by_entry.view(q, num_large)[:, 1].sum())
    return Layout(axis, minor=not is_major)
