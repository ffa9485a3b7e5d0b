"""Conformance: what a rule must satisfy before it is trusted. For anyone who adds one.

from batchscope.gradients import conformance
conformance.check_rule(nn.Bilinear(5, 7, 3), (torch.randn(11, 5), torch.randn(11, 7)))
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from batchscope.errors import InputError, MeasurementError
from batchscope.gradients import oracle
from batchscope.gradients.measuring import measure
from batchscope.gradients.report import Report
from batchscope.gradients.subject.batches import Batch, call, make_batch
from batchscope.gradients.subject.leaves import map_leaves

RELATIVE = 1e-9  # float64 leaves seven digits for the conditioning of sums; a wrong rule is off by far more
SIZES = (0, 1, 2, 5)  # examples, beside all that are given


def check_rule(module: nn.Module, inputs: Any, *, allow_fallback: bool = False) -> Report:
    """Check `measure` on a module alone against the definition, in float64; return the report of the full batch.

    The loss is ½ sum of (output - random target)². Checked: per parameter the sum of squared norms and the squared norm
    of the sum, for 0, 1, 2, 5 and all N examples, in reverse order, and in batches of different sizes; and that the
    module's own rule was used rather than a fallback (unless `allow_fallback`). The module itself is not changed.

    inputs: a tensor [N, ...], a tuple of the module's arguments or a dict of its keyword arguments; N >= 6, best with
    distinct primes as sizes. Raises MeasurementError, naming the parameter, what differs and by how much.
    """
    module = copy.deepcopy(module).double()
    batch = make_batch(map_leaves(_double, inputs), torch.zeros(0), torch.device("cpu"))
    if batch.num_examples <= max(SIZES):
        raise InputError(f"{batch.num_examples} examples: expected more than {max(SIZES)}, best a prime")
    batch = _with_targets(module, batch)
    order = torch.arange(batch.num_examples)
    variants = {f"{size} examples": batch.head(size) for size in SIZES} | {"reverse order": batch.take(order.flip(0))}
    report = _check(module, [batch], batch, "all examples")
    for what, examples in variants.items():
        _check(module, [examples], examples, what)
    parts = [batch.take(order[:2]), batch.take(order[2:3]), batch.take(order[3:])]
    _check(module, parts, batch, "batches of 2, 1 and the rest")
    if report.coverage.fallbacks and not allow_fallback:
        raise MeasurementError(
            f"{type(module).__name__}: {report.coverage.fallbacks} were measured by a fallback, not a rule:\n"
            f"{report.coverage}\nRegister a rule for the function that takes them, or pass allow_fallback=True"
        )
    return report


def _double(leaf: Any) -> Any:
    return leaf.double() if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf


def squared_error(outputs: Any, targets: Tensor) -> Tensor:
    """½‖y - t‖² per example; of several outputs the first."""
    first: Tensor = outputs[0] if isinstance(outputs, tuple) else outputs
    return (first - targets).flatten(1).square().sum(1) / 2


def _with_targets(module: nn.Module, batch: Batch) -> Batch:
    one = call(module, batch.head(1).inputs)
    one = one[0] if isinstance(one, tuple) else one
    generator = torch.Generator().manual_seed(0)
    targets = torch.randn(batch.num_examples, *one.shape[1:], generator=generator, dtype=one.dtype)
    return Batch(batch.inputs, targets, batch.num_examples)


def _check(module: nn.Module, batches: list[Batch], whole: Batch, what: str) -> Report:
    report = measure(module, squared_error, [(batch.inputs, batch.targets) for batch in batches])
    compare(report, oracle.moments(module, squared_error, whole.inputs, whole.targets), what)
    return report


def compare(report: Report, truth: Mapping[str, tuple[float, float]], what: str) -> None:
    """Raise MeasurementError when a parameter's S1 or Q differs from `truth` by more than rounding."""
    scale = max((value for pair in truth.values() for value in pair), default=0.0)
    for name, (sum_sq_norms, sq_norm_sum) in truth.items():
        found = report.by_parameter[name]
        pairs = (
            ("sum of squared norms", found.sum_sq_norms, sum_sq_norms),
            ("squared norm of the sum", found.sq_norm_sum, sq_norm_sum),
        )
        for quantity, fast, slow in pairs:
            if not abs(fast - slow) <= RELATIVE * slow + RELATIVE**2 * scale:
                raise MeasurementError(
                    f"{what}: {quantity} of {name!r} is {fast:.12g}, the definition gives {slow:.12g}; "
                    f"measured by {report.coverage.ways[name]}"
                )
