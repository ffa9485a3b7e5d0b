"""The audit of an observed pass: its sums against the loop's gradients, some norms against single examples.

A single example goes through the model alone, backwards by plain autograd from the gradients v that the loop sent to
its outputs. That shares nothing with the capture.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from batchscope.errors import MeasurementError
from batchscope.gradients.backward.audit import allowed
from batchscope.gradients.backward.collect import Result
from batchscope.gradients.observing.loop_gradients import sq_norm
from batchscope.gradients.observing.replay import SLACK, Recording, Replay, check_sums


def audit(
    recording: Recording, results: Mapping[str, Result], loop: Mapping[str, Tensor] | None, is_random: bool
) -> None:
    """MeasurementError when the results disagree with plain autograd.

    loop: the gradients that the loop got; None when they are not of this forward pass alone. is_random: of a model with
    dropout, single examples would draw other numbers: only the sums are compared.
    """
    if loop is not None:
        check_sums(results, loop, recording.is_low)
    if is_random:
        return
    subject = Replay(recording)
    for i in sorted({0, recording.batch.num_examples - 1}):
        with recording.setting():
            alone = subject.gradients_of_one(subject.batch, i, subject.parameters)
        _compare(i, {name: float(sq_norm(g)) ** 0.5 for name, g in alone.items()}, results, recording.is_low)


def _compare(i: int, truth: Mapping[str, float], results: Mapping[str, Result], is_low: bool) -> None:
    whole = math.hypot(*truth.values())
    for name, slow in truth.items():
        norms = results[name].sq_norms if name in results else None
        fast = 0.0 if norms is None else float(norms[i]) ** 0.5
        dtype = torch.float32 if norms is None else norms.dtype
        if not abs(fast - slow) <= SLACK * allowed(slow, whole, dtype, is_low):
            raise MeasurementError(
                f"audit of {name!r}: the gradient norm of example {i} is {fast:.6g}, plain autograd says {slow:.6g}"
            )
