"""Examples as the user takes them out of a batch: graphs, unpadded sequences, detection, point clouds.

Where no axis counts examples, a function says what they are. Each is run alone; its loss is all that the loss function
returns, added up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from batchscope.errors import BatchscopeError, InputError, MeasurementError
from batchscope.gradients.backward.audit import audit_sums
from batchscope.gradients.backward.collect import Measured, Result
from batchscope.gradients.backward.loop import Gradients, add_up, timed
from batchscope.gradients.backward.measurer import Measurer
from batchscope.gradients.subject.batches import Batch, as_pair, make_batch
from batchscope.gradients.subject.failures import described, refuse_out_of_memory
from batchscope.gradients.subject.subject import Subject

Examples = Callable[[tuple[Any, Any]], Iterable[Any]]  # (inputs, targets) -> its examples, each (inputs, targets)

REASON = "per-example loop over examples="


def measure_examples(measurer: Measurer, batch: Batch, examples: Examples) -> dict[str, Result]:
    """Parameter name -> Result over the examples that `examples` finds in the batch.

    MeasurementError when their gradients do not add up to the batch's (unless the loss of a batch is one number, which
    may be a mean of any kind). InputError for an unusable `examples`.
    """
    subject, parameters = measurer.subject, measurer.parameters
    singles = _singles(batch, examples, subject)
    if not singles:
        return {name: _none(p) for name, p in parameters.items()}
    rows = (_gradients(subject, single) for single in singles)
    results = add_up(timed(rows, len(singles), measurer.costs, measurer.expected), parameters, REASON, is_one=False)
    if measurer.audited and measurer.is_first():
        _audit(subject, batch, results)
    return results


def _singles(batch: Batch, examples: Examples, subject: Subject) -> list[Batch]:
    try:
        found = list(examples((batch.inputs, batch.targets)))
    except Exception as error:
        refuse_out_of_memory(error)
        raise InputError(f"examples= failed on a batch: {described(error)}") from error
    return [make_batch(*as_pair(item), subject.device, counted=False) for item in found]


def _gradients(subject: Subject, single: Batch) -> Gradients:
    try:
        return subject.gradients_of_whole(single)
    except BatchscopeError:
        raise
    except Exception as error:
        refuse_out_of_memory(error)
        raise MeasurementError(f"the model or the loss failed on one of examples=: {described(error)}") from error


def _audit(subject: Subject, batch: Batch, results: dict[str, Result]) -> None:
    loss = subject.raw_loss(batch)
    if loss.ndim == 0:
        subject.say("the loss of a batch is one number: examples= was not checked against it")
        return
    wrong = audit_sums(subject, batch, results, subject.gradients_of_whole(batch))
    if wrong is not None:
        raise MeasurementError(
            f"{wrong}. The gradients of examples= do not add up to the batch's: is every one there, once?"
        )


def _none(parameter: Tensor) -> Result:
    return Result(parameter.new_zeros(0), torch.zeros_like(parameter), Measured((REASON,), "loop"))
