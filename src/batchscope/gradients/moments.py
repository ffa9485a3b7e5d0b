"""The record of a measurement: per parameter the sum of squared norms and the summed gradient, mergeable in any order.

Collecting is apart from computing. A batch, a device or an interrupted run each give a `GradientMoments`; `merge` joins
them, and it is associative and commutative up to rounding, because everything kept is a sum over examples in float64.
The nonlinear number Q = ‖sum_i g_i‖² is formed only when asked for.

**Groups, for the interval.** A sample of a larger population needs a standard error, here the delete-one-group
jackknife, which needs Q without group b: Q_{-b} = ‖G - G_b‖². An inner product with gradients that arrive later needs
G_b to be there still, so the vectors of the groups must be kept; no single pass can do with fewer vectors than
degrees of freedom. Batch number b therefore goes into group b mod k with k <= `MOST_GROUPS` fixed beforehand: memory is
k gradients whatever the number of batches, and because the group is a function of the batch's number alone, merging
groups is associative too (merging neighbours as they fill up would not be). A measurement of all examples there are
needs no interval and keeps no groups.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from batchscope.errors import InputError
from batchscope.gradients.estimands import Moments

__all__ = ["MOST_GROUPS", "BatchMoments", "GradientMoments", "Moments", "MomentsAccumulator", "groups_within"]

MOST_GROUPS = 20  # jackknife groups: t quantile 2.09 against the normal's 1.96; more would cost memory and gain little


def groups_within(memory_bytes: float, num_parameters: int) -> int:
    """Jackknife groups whose float64 gradients fit in `memory_bytes`: at most MOST_GROUPS, 0 when not even 2."""
    fit = int(memory_bytes // (8 * max(num_parameters, 1)))
    return min(fit, MOST_GROUPS) if fit >= 2 else 0


@dataclass(frozen=True, eq=False)
class BatchMoments:
    """The sums over one batch, or over one group of batches.

    num_examples: examples in it.
    sum_sq_norms: parameter name -> sum_i ‖g_i‖² (NaN where it could not be measured).
    grad_sums: parameter name -> sum_i g_i, float64, the parameter's shape.
    """

    num_examples: int
    sum_sq_norms: Mapping[str, float]
    grad_sums: Mapping[str, Tensor]

    def __post_init__(self) -> None:
        _check_record(self.num_examples, self.sum_sq_norms, self.grad_sums)

    def merge(self, other: BatchMoments) -> BatchMoments:
        """The sums over both sets of examples, on this record's devices. InputError for different parameters."""
        _check_same_parameters(self.grad_sums, other.grad_sums)
        return BatchMoments(
            self.num_examples + other.num_examples,
            {name: value + other.sum_sq_norms[name] for name, value in self.sum_sq_norms.items()},
            {name: grad + other.grad_sums[name].to(grad.device) for name, grad in self.grad_sums.items()},
        )


@dataclass(frozen=True, eq=False)
class GradientMoments:
    """What was measured over a set of examples, per parameter.

    num_examples: n.
    sum_sq_norms: parameter name -> S1 = sum_i ‖g_i‖² (NaN where it could not be measured; then the total is NaN).
    grad_sums: parameter name -> sum_i g_i, float64, the parameter's shape; never divided by n.
    batches: group number -> sums over the batches of that group; empty when no interval will be asked for.
    """

    num_examples: int
    sum_sq_norms: Mapping[str, float]
    grad_sums: Mapping[str, Tensor]
    batches: Mapping[int, BatchMoments] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        _check_record(self.num_examples, self.sum_sq_norms, self.grad_sums)
        grouped = sum(batch.num_examples for batch in self.batches.values())
        if self.batches and grouped != self.num_examples:
            raise InputError(
                f"the groups hold {grouped} examples, the total {self.num_examples}: "
                "every batch must be in exactly one group"
            )

    @classmethod
    def from_batch(
        cls,
        num_examples: int,
        sum_sq_norms: Mapping[str, float | Tensor],
        grad_sums: Mapping[str, Tensor],
        group: int | None = None,
    ) -> GradientMoments:
        """The record of one batch; tensors are copied to float64. `group`: its jackknife group, None to keep none."""
        accumulator = MomentsAccumulator()
        accumulator.add(num_examples, sum_sq_norms, grad_sums)
        moments = accumulator.finish()
        if group is None:
            return moments
        batch = BatchMoments(num_examples, moments.sum_sq_norms, moments.grad_sums)
        return cls(num_examples, moments.sum_sq_norms, moments.grad_sums, {group: batch})

    def merge(self, other: GradientMoments) -> GradientMoments:
        """The moments of both sets of examples together, on this record's devices; groups of equal number are joined.

        Associative and commutative up to rounding. InputError when the parameters or their shapes differ, or when only
        one of two non-empty records keeps groups (the interval would silently describe a part of the examples).
        """
        _check_same_parameters(self.grad_sums, other.grad_sums)
        if self.num_examples and other.num_examples and bool(self.batches) != bool(other.batches):
            raise InputError(
                "only one of the two moments keeps groups for an interval: measure both with groups, or both without"
            )
        sums = BatchMoments(self.num_examples, self.sum_sq_norms, self.grad_sums).merge(
            BatchMoments(other.num_examples, other.sum_sq_norms, other.grad_sums)
        )
        batches = _merge_groups(self.batches, other.batches)
        return GradientMoments(sums.num_examples, sums.sum_sq_norms, sums.grad_sums, batches)

    @cached_property
    def by_parameter(self) -> dict[str, Moments]:
        """Parameter name -> Moments."""
        return {
            name: Moments(self.num_examples, self.sum_sq_norms[name], _sq_norm(grad))
            for name, grad in self.grad_sums.items()
        }

    @property
    def total(self) -> Moments:
        """Moments over all parameters."""
        return self.select(self.grad_sums)

    def select(self, names: Iterable[str]) -> Moments:
        """Moments over the named parameters together. InputError for a name that was not measured."""
        return Moments.add(self.num_examples, [self.by_parameter[name] for name in self._known(names)])

    def by_module(self, owners: Mapping[str, str]) -> dict[str, Moments]:
        """Module name -> Moments over the parameters it owns; `owners` maps each parameter name to a module name."""
        return {module: self.select(names) for module, names in self.names_by_module(owners).items()}

    def names_by_module(self, owners: Mapping[str, str]) -> dict[str, list[str]]:
        """Module name -> its parameters, in order. InputError when a measured parameter has no owner."""
        unowned = [name for name in self.grad_sums if name not in owners]
        if unowned:
            raise InputError(f"no owning module given for parameters {unowned}: add them to `owners`")
        modules: dict[str, list[str]] = {}
        for name in self.grad_sums:
            modules.setdefault(owners[name], []).append(name)
        return modules

    def leave_one_out(self, names: Iterable[str] | None = None) -> list[Moments]:
        """Moments without each group in turn, over `names` (all parameters when None); group numbers ascending."""
        names = self._known(self.grad_sums if names is None else names)
        return [
            Moments.add(self.num_examples - self.batches[group].num_examples, [rest[name] for name in names])
            for group, rest in self._without_group.items()
        ]

    @cached_property
    def _without_group(self) -> dict[int, dict[str, Moments]]:
        """Group -> parameter -> Moments of all other groups: Q_{-b} = ‖G - G_b‖², one temporary of one parameter."""
        return {group: self._without(self.batches[group]) for group in sorted(self.batches)}

    def _without(self, batch: BatchMoments) -> dict[str, Moments]:
        return {
            name: Moments(
                self.num_examples - batch.num_examples,
                self.sum_sq_norms[name] - batch.sum_sq_norms[name],
                _sq_norm(grad - batch.grad_sums[name].to(grad.device)),
            )
            for name, grad in self.grad_sums.items()
        }

    def _known(self, names: Iterable[str]) -> list[str]:
        names = list(names)
        unknown = [name for name in names if name not in self.grad_sums]
        if unknown:
            raise InputError(f"parameters {unknown} were not measured: expected some of {sorted(self.grad_sums)}")
        return names


class MomentsAccumulator:
    """Adds batches in place, then hands over one frozen `GradientMoments`: the loop's form of `merge`, without copies.

    num_groups: jackknife groups k; batch number b goes into group b mod k. 0 keeps none (all examples are measured).
    first_batch: number of the first batch, when resuming.
    """

    def __init__(self, num_groups: int = 0, first_batch: int = 0) -> None:
        if num_groups < 0 or num_groups == 1:
            raise InputError(f"num_groups={num_groups}: expected 0 (no interval) or at least 2 groups")
        self._num_groups = num_groups
        self._next_batch = first_batch
        self._sums: dict[int, _RunningSums] = {}

    def add(
        self, num_examples: int, sum_sq_norms: Mapping[str, float | Tensor], grad_sums: Mapping[str, Tensor]
    ) -> None:
        """Add one batch: per parameter sum_i ‖g_i‖² (a number or a 0-d tensor; stays on its device) and sum_i g_i."""
        group = self._next_batch % self._num_groups if self._num_groups else 0
        self._next_batch += 1
        if group in self._sums:
            self._sums[group].add(num_examples, sum_sq_norms, grad_sums)
        else:
            self._sums[group] = _RunningSums(num_examples, sum_sq_norms, grad_sums)

    def finish(self) -> GradientMoments:
        """The moments of everything added; the accumulator is empty afterwards. InputError when nothing was added."""
        if not self._sums:
            raise InputError("no batch was added: expected at least one (of any size, 0 included)")
        batches = {group: sums.freeze() for group, sums in sorted(self._sums.items())}
        self._sums = {}
        total, *others = batches.values()
        for batch in others:
            total = total.merge(batch)
        groups = batches if self._num_groups else {}
        return GradientMoments(total.num_examples, total.sum_sq_norms, total.grad_sums, groups)


class _RunningSums:
    """Sums of one group, added to in place. Squared norms stay tensors so that a GPU is not waited for."""

    def __init__(
        self, num_examples: int, sum_sq_norms: Mapping[str, float | Tensor], grad_sums: Mapping[str, Tensor]
    ) -> None:
        self.num_examples = num_examples
        self.sum_sq_norms = {name: _float64(value) for name, value in sum_sq_norms.items()}
        self.grad_sums = {name: _float64(grad) for name, grad in grad_sums.items()}
        _check_names(self.sum_sq_norms, self.grad_sums)

    def add(
        self, num_examples: int, sum_sq_norms: Mapping[str, float | Tensor], grad_sums: Mapping[str, Tensor]
    ) -> None:
        grad_sums = {name: _reals(grad.detach()) for name, grad in grad_sums.items()}
        _check_same_parameters(self.grad_sums, grad_sums)
        _check_names(sum_sq_norms, grad_sums)
        self.num_examples += num_examples
        for name, total in self.grad_sums.items():
            total += grad_sums[name].to(total.device)
            self.sum_sq_norms[name] = self.sum_sq_norms[name] + _float64(sum_sq_norms[name])

    def freeze(self) -> BatchMoments:
        sum_sq_norms = {name: value.item() for name, value in self.sum_sq_norms.items()}
        return BatchMoments(self.num_examples, sum_sq_norms, self.grad_sums)


def _float64(value: float | Tensor) -> Tensor:
    """A private float64 copy: the caller may go on changing what it handed in."""
    if isinstance(value, Tensor):
        return _reals(value.detach()).to(torch.float64, copy=True)
    return torch.tensor(value, dtype=torch.float64)


def _reals(tensor: Tensor) -> Tensor:
    """A complex number as two reals, in a further, last axis."""
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def _sq_norm(grad: Tensor) -> float:
    return float(torch.dot(grad.reshape(-1), grad.reshape(-1)))


def _merge_groups(left: Mapping[int, BatchMoments], right: Mapping[int, BatchMoments]) -> dict[int, BatchMoments]:
    merged = dict(left)
    for group, batch in right.items():
        merged[group] = merged[group].merge(batch) if group in merged else batch
    return merged


def _check_record(num_examples: int, sum_sq_norms: Mapping[str, float], grad_sums: Mapping[str, Tensor]) -> None:
    if num_examples < 0:
        raise InputError(f"num_examples={num_examples}: expected a count of examples, 0 or more")
    _check_names(sum_sq_norms, grad_sums)
    for name, grad in grad_sums.items():
        if grad.dtype != torch.float64:
            raise InputError(f"the summed gradient of {name!r} is {grad.dtype}: expected torch.float64; use from_batch")


def _check_names(sum_sq_norms: Mapping[str, object], grad_sums: Mapping[str, object]) -> None:
    if sum_sq_norms.keys() != grad_sums.keys():
        different = sorted(sum_sq_norms.keys() ^ grad_sums.keys())
        raise InputError(f"parameters {different} have only one of sum_sq_norms and grad_sums: give both for each")


def _check_same_parameters(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> None:
    if left.keys() != right.keys():
        different = sorted(left.keys() ^ right.keys())
        raise InputError(f"parameters {different} are in only one of the two moments: merge measurements of one model")
    for name, grad in left.items():
        if grad.shape != right[name].shape:
            raise InputError(
                f"parameter {name!r} has shape {tuple(grad.shape)} in one of the moments and "
                f"{tuple(right[name].shape)} in the other: merge measurements of one model"
            )
