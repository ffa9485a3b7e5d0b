"""The audit: on the first batch, the fast result against plain autograd, which shares nothing with it.

For a few examples, each parameter's squared norm against the gradient of a batch that holds the example alone (this
checks rules, kernels, layouts and rewrites at once, and that examples are not coupled); and each parameter's summed
gradient against an ordinary backward pass over the batch. A disagreement raises, naming the parameter and its rule.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from batchscope.errors import MeasurementError
from batchscope.gradients.backward.collect import UNAVAILABLE, Result
from batchscope.gradients.subject.batches import Batch
from batchscope.gradients.subject.subject import Subject

AUDITED = 3  # examples
# Relative tolerance on a norm, and absolute tolerance as a fraction of the example's whole gradient (a bias in front of
# a normalisation has gradient zero up to rounding). Assumption: a wrong rule is off by more than 1 %.
TOLERANCES = {torch.float64: (1e-6, 1e-9), torch.float32: (4e-3, 1e-5)}
LOW_PRECISION = (5e-2, 5e-3)


def audit(subject: Subject, batch: Batch, results: Mapping[str, Result]) -> None:
    """Raise MeasurementError when a result disagrees with plain autograd."""
    if any(result.measured.kernel == UNAVAILABLE for result in results.values()):
        return  # the model does not run on a batch of one, so the audit cannot either
    for i in sorted({0, batch.num_examples // 2, batch.num_examples - 1})[:AUDITED]:
        _audit_example(subject, batch, i, results)
    _audit_sums(subject, batch, results)


def _audit_example(subject: Subject, batch: Batch, i: int, results: Mapping[str, Result]) -> None:
    truth = {name: _norm(g) for name, g in subject.gradients_of_one(batch, i, subject.parameters).items()}
    whole = math.hypot(*truth.values())
    for name, slow in truth.items():
        fast = float(results[name].sq_norms[i]) ** 0.5
        if not abs(fast - slow) <= _allowed(subject, name, slow, whole):
            raise _error(name, results[name], f"the gradient norm of example {i}", fast, slow)


def _audit_sums(subject: Subject, batch: Batch, results: Mapping[str, Result]) -> None:
    truth = subject.plain_gradients(batch, subject.parameters)
    # Rounding of a sum grows with its terms, not with the sum, which may cancel.
    terms = {name: float(result.sq_norms.double().sum()) ** 0.5 for name, result in results.items()}
    whole = math.hypot(*terms.values())
    for name, gradient in truth.items():
        difference = _norm(results[name].grad_sum - gradient)
        if not difference <= _allowed(subject, name, _norm(gradient) + terms[name], whole):
            raise _error(name, results[name], "the summed gradient", difference, 0.0)


def _norm(x: Tensor) -> float:
    return float(torch.linalg.vector_norm(x, dtype=torch.float64))


def _allowed(subject: Subject, name: str, norm: float, whole: float) -> float:
    parameter = subject.parameters[name]
    low = torch.is_autocast_enabled(parameter.device.type) or any(
        p.dtype in (torch.float16, torch.bfloat16) for p in subject.parameters.values()
    )
    relative, absolute = LOW_PRECISION if low else TOLERANCES[parameter.dtype]
    return relative * norm + absolute * whole


def _error(name: str, result: Result, what: str, fast: float, slow: float) -> MeasurementError:
    how = f"rule {', '.join(result.measured.rules)}, kernel {result.measured.kernel}"
    return MeasurementError(
        f"audit of parameter {name!r} ({how}): {what} is {fast:.6g}, plain autograd says {slow:.6g} "
        "(for sums: the norm of the difference). The result would be wrong. If the model is deterministic and its "
        "examples are independent, please report the layer; audit=False measures without this check"
    )
