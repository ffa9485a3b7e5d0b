"""The audit: a fast result against plain autograd, which shares nothing with it.

For a few examples, each parameter's squared norm against the gradient of a batch that holds the example alone (this
checks rules, kernels, layouts and rewrites at once, and that examples are not coupled); and each parameter's summed
gradient against an ordinary backward pass over the batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from batchscope.errors import MeasurementError
from batchscope.gradients.backward.collect import LOOP, UNAVAILABLE, Result
from batchscope.gradients.subject.batches import Batch
from batchscope.gradients.subject.subject import Subject

AUDITED = 3  # examples of the first batch
# Relative tolerance on a norm, and absolute tolerance as a fraction of the example's whole gradient (a bias in front of
# a normalisation has gradient zero up to rounding). Assumption: a wrong rule is off by more than 1 %.
TOLERANCES = {torch.float64: (1e-6, 1e-9), torch.float32: (4e-3, 1e-5)}
LOW_PRECISION = (5e-2, 5e-3)


def examples_of(num_examples: int) -> list[int]:
    """First, middle and last."""
    return sorted({0, num_examples // 2, num_examples - 1})[:AUDITED]


def audit_examples(
    subject: Subject, batch: Batch, results: Mapping[str, Result], examples: Iterable[int]
) -> MeasurementError | None:
    """The first disagreement about the norms of some examples, or None."""
    known = {name: p for name, p in subject.parameters.items() if results[name].measured.kernel != UNAVAILABLE}
    for i in examples:
        truth = {name: _norm(g) for name, g in subject.gradients_of_one(batch, i, known).items()}
        whole = math.hypot(*truth.values())
        for name, slow in truth.items():
            fast = float(results[name].sq_norms[i]) ** 0.5
            if not abs(fast - slow) <= _allowed(subject, name, slow, whole):
                what = f"the gradient norm of example {i} is {fast:.6g}, plain autograd says {slow:.6g}"
                return _error(name, results[name], what)
    return None


def audit_sums(
    subject: Subject, batch: Batch, results: Mapping[str, Result], truth: Mapping[str, Tensor] | None = None
) -> MeasurementError | None:
    """The first disagreement about the summed gradients, or None. truth: those of the batch, if already formed."""
    known = {name: p for name, p in subject.parameters.items() if results[name].measured.kernel != UNAVAILABLE}
    truth = subject.plain_gradients(batch, known) if truth is None else truth
    # Rounding of a sum grows with its terms, not with the sum, which may cancel.
    terms = {name: float(results[name].sq_norms.double().sum()) ** 0.5 for name in known}
    whole = math.hypot(*terms.values())
    for name, gradient in truth.items():
        difference = _norm(results[name].grad_sum - gradient)
        if not difference <= _allowed(subject, name, _norm(gradient) + terms[name], whole):
            what = f"the summed gradient is {difference:.3g} away from plain autograd's, of norm {_norm(gradient):.3g}"
            return _error(name, results[name], what)
    return None


def _norm(x: Tensor) -> float:
    reals = torch.view_as_real(x.resolve_conj()) if x.is_complex() else x
    return float(torch.linalg.vector_norm(reals, dtype=torch.float64))


def _allowed(subject: Subject, name: str, norm: float, whole: float) -> float:
    parameter = subject.parameters[name]
    low = torch.is_autocast_enabled(parameter.device.type) or any(
        p.dtype in (torch.float16, torch.bfloat16) for p in subject.parameters.values()
    )
    return allowed(norm, whole, parameter.dtype, low)


def allowed(norm: float, whole: float, dtype: torch.dtype, is_low: bool) -> float:
    """The norm of a difference that rounding explains. norm: of what is compared; whole: of all parameters together.

    is_low: whether half precision is at work.
    """
    relative, absolute = LOW_PRECISION if is_low else TOLERANCES.get(dtype.to_real(), TOLERANCES[torch.float32])
    return relative * norm + absolute * whole


def _error(name: str, result: Result, what: str) -> MeasurementError:
    measured = result.measured
    rule = f"rule {', '.join(measured.rules)}, kernel {measured.kernel}"
    how = "one example at a time" if measured.kernel == LOOP else rule
    return MeasurementError(f"audit of parameter {name!r} ({how}): {what}")
