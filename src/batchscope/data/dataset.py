"""The currency of the room: `RawData`, what a reader returns, and `Dataset`, what everybody else uses."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchscope.data.seeding import Stream, generator
from batchscope.digest import short_digest
from batchscope.errors import DataError, InputError

Array = NDArray[Any]


@dataclass(frozen=True)
class Standardisation:
    """How raw inputs became `Dataset.inputs`: (raw / unit - mean) / std, with the statistics of the training part.

    scheme: "per_channel" (one mean and std per image channel), "per_feature" (one per flat feature), "global" (one
    for all entries), "none" (divided by the unit only; mean and std empty), "raw" (not even that) or "tokens" (whole
    numbers that name things, as they are).
    mean, std: one number per channel, feature or set, in units of raw / unit; std divides by n, and is 1 where the
    raw values are constant (which then become 0).
    unit: what the raw values were divided by first, e.g. 255 for pixels stored as bytes.
    target_scale: what regression targets were divided by; 1 = left as they are.
    """

    scheme: str
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    unit: float = 1.0
    target_scale: float = 1.0


@dataclass(frozen=True, eq=False)
class RawData:
    """Arrays as a reader found them, before standardisation.

    inputs [n, C, H, W] or [n, d], any real dtype, or tokens [n, T], whole; targets [n] integer classes, [n, T] one of
    each token, or [n, q] float; the held-out pair alike, or None. num_classes None = regression. scheme, unit,
    target_scale: see Standardisation.
    """

    name: str
    title: str
    inputs: Array
    targets: Array
    heldout_inputs: Array | None
    heldout_targets: Array | None
    num_classes: int | None
    source: str
    scheme: str
    unit: float = 1.0
    target_scale: float = 1.0


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training and held-out examples, standardised and checked; n = `num_examples`.

    name: as given to `load` (a file's stem for .npz). title: the name to use in results, e.g. "EMNIST-47 (reduced)".
    inputs: float32 [n, C, H, W] for images, [n, d] for flat features; int64 [n, T] for tokens. targets: int64 [n],
    classes 0..num_classes-1, or [n, T], one of each token; float32 [n, q] for regression. heldout_inputs,
    heldout_targets: alike, or both None.
    num_classes: None for regression. fingerprint: first 16 hex digits of the sha256 over the raw arrays and the
    standardisation's scheme. standardisation: see there. source: where the data came from, with citation.

    Raises DataError for arrays that are empty, not finite, of other shapes, or labels out of range.
    """

    name: str
    inputs: NDArray[Any]
    targets: NDArray[Any]
    heldout_inputs: NDArray[Any] | None
    heldout_targets: NDArray[Any] | None
    num_classes: int | None
    fingerprint: str
    standardisation: Standardisation
    source: str
    title: str = ""

    def __post_init__(self) -> None:
        check_record(self)
        expected = (
            np.dtype(np.int64 if self.is_tokens else np.float32),
            np.dtype(np.float32 if self.num_classes is None else np.int64),
        )
        if (self.inputs.dtype, self.targets.dtype) != expected:
            raise DataError(
                f"{self.name}: inputs {self.inputs.dtype} and targets {self.targets.dtype}; "
                f"expected {expected[0]} and {expected[1]}"
            )

    @property
    def num_examples(self) -> int:
        """Training examples, n."""
        return len(self.inputs)

    @property
    def num_heldout(self) -> int:
        """Held-out examples; 0 when there are none."""
        return 0 if self.heldout_inputs is None else len(self.heldout_inputs)

    @property
    def d_in(self) -> int:
        """Numbers per example, images flattened."""
        return math.prod(self.inputs.shape[1:])

    @property
    def is_tokens(self) -> bool:
        """Whether inputs are the numbers of tokens."""
        return self.standardisation.scheme == "tokens"

    @property
    def positions(self) -> tuple[int, ...]:
        """(T,) where each of an example's T tokens has a class of its own; () elsewhere."""
        return () if self.num_classes is None else self.targets.shape[1:]

    @property
    def d_out(self) -> int:
        """Outputs a network needs: the classes, or the q of regression."""
        return self.targets.shape[1] if self.num_classes is None else self.num_classes

    def subset(self, num_examples: int, seed: int = 0) -> Dataset:
        """Return `num_examples` training examples drawn without replacement and without regard to class.

        The order is that of the draw; a smaller subset of the same seed is a prefix of a larger one. All examples
        means the set itself, unchanged. The held-out part and the statistics of the standardisation stay those of
        the whole set. Raises InputError when there are fewer than `num_examples`, or for less than one.
        """
        if not 1 <= num_examples <= self.num_examples:
            raise InputError(
                f"num_examples {num_examples}: {self.name} has {self.num_examples} training examples; "
                f"ask for 1 to {self.num_examples}"
            )
        if num_examples == self.num_examples:
            return self
        chosen = generator(seed, Stream.SUBSET).permutation(self.num_examples)[:num_examples]
        mark = f"{self.fingerprint} subset {num_examples} seed {seed}"
        return dataclasses.replace(
            self,
            inputs=self.inputs[chosen],
            targets=self.targets[chosen],
            fingerprint=short_digest(mark),
            source=f"{self.source} Subset of {num_examples} of {self.num_examples} examples, seed {seed}.",
        )

    def __str__(self) -> str:
        shape = "x".join(map(str, self.inputs.shape[1:]))
        task = f"{self.d_out} outputs, regression" if self.num_classes is None else f"{self.num_classes} classes"
        task += f" at each of {self.positions[0]} tokens" if self.positions else ""
        return f"{self.title or self.name}: {self.num_examples} + {self.num_heldout} held out, inputs {shape}, {task}"


def check_record(record: RawData | Dataset) -> None:
    """Raise DataError unless both parts of `record` can be used, and together."""
    check_part(record.name, record.inputs, record.targets, record.num_classes)
    if (record.heldout_inputs is None) != (record.heldout_targets is None):
        raise DataError(f"{record.name}: heldout_inputs and heldout_targets must be given together")
    if record.heldout_inputs is not None and record.heldout_targets is not None:
        check_part(f"{record.name}, held-out part", record.heldout_inputs, record.heldout_targets, record.num_classes)
        _check_same_example_shape(record.name, "inputs", record.inputs, record.heldout_inputs)
        _check_same_example_shape(record.name, "targets", record.targets, record.heldout_targets)


def check_part(where: str, inputs: Array, targets: Array, num_classes: int | None) -> None:
    """Raise DataError unless inputs and targets are one usable set of examples; `where` names them in the message."""
    if len(inputs) == 0 or 0 in inputs.shape:
        raise DataError(f"{where}: inputs of shape {inputs.shape} are empty; at least one example is needed")
    if inputs.ndim not in (2, 4):
        raise DataError(f"{where}: inputs have shape {inputs.shape}; expected [n, d] or images [n, C, H, W]")
    if len(targets) != len(inputs):
        raise DataError(f"{where}: {len(inputs)} inputs but {len(targets)} targets; expected one target per input")
    check_finite(f"{where}: inputs", inputs)
    check_finite(f"{where}: targets", targets)
    if num_classes is None:
        _check_regression_targets(where, targets)
    else:
        _check_labels(where, targets, num_classes, inputs)


def check_finite(what: str, array: Array) -> None:
    """Raise DataError saying how many entries of `array` are NaN or infinite, and where the first one is."""
    if array.dtype.kind != "f":
        return
    with np.errstate(all="ignore"):  # one NaN or infinity makes the sum one: a quarter of the time of looking at each
        total = array.sum()
    if np.isfinite(total) or np.isfinite(array).all():
        return
    bad = ~np.isfinite(array)
    first = tuple(int(i) for i in np.unravel_index(int(bad.argmax()), array.shape))
    raise DataError(
        f"{what} hold {int(bad.sum())} NaN or infinite values, the first ({array[first]}) at index {first}; "
        "remove or replace them"
    )


def fingerprint(*parts: Array | str | None) -> str:
    """Return the first 16 hex digits of the sha256 over the parts: dtype, shape and bytes of arrays, text as UTF-8."""
    return short_digest(*(piece for part in parts for piece in _hashed(part)))


def _hashed(part: Array | str | None) -> tuple[str | memoryview, ...]:
    if isinstance(part, np.ndarray):
        return (f"{part.dtype.str}{part.shape}", np.ascontiguousarray(part).data.cast("B"))
    return (repr(part),)


def _check_regression_targets(where: str, targets: Array) -> None:
    if targets.ndim != 2 or targets.shape[1] == 0 or targets.dtype.kind != "f":
        raise DataError(
            f"{where}: regression targets are {targets.dtype} of shape {targets.shape}; expected floats [n, q]"
        )


def _check_labels(where: str, targets: Array, num_classes: int, inputs: Array) -> None:
    of_each_token = inputs.dtype.kind in "iu" and targets.shape == inputs.shape
    if (targets.ndim != 1 and not of_each_token) or targets.dtype.kind not in "iu":
        raise DataError(f"{where}: labels are {targets.dtype} of shape {targets.shape}; expected whole numbers [n]")
    low, high = int(targets.min()), int(targets.max())
    if low < 0 or high >= num_classes:
        targets = targets.ravel()
        first = int(((targets < 0) | (targets >= num_classes)).argmax())
        raise DataError(
            f"{where}: labels run from {low} to {high}; expected 0 to {num_classes - 1} for {num_classes} classes "
            f"(first bad label: {int(targets[first])} at index {first})"
        )


def _check_same_example_shape(where: str, kind: str, train: Array, heldout: Array) -> None:
    if train.shape[1:] != heldout.shape[1:]:
        raise DataError(
            f"{where}: one example of the training {kind} has shape {train.shape[1:]}, "
            f"of the held-out {kind} {heldout.shape[1:]}; expected the same"
        )
