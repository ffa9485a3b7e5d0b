"""A rehearsal before the first observed pass: may the per-example gradients be formed in the loop's own passes?

Three examples of the batch go through the model and back a few times, with the sum of the outputs for a loss. Whatever
goes wrong here (checkpointing, derivatives inside the model, control flow that depends on the batch) goes wrong apart
from the loop, and a second pass is used instead.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from batchscope.gradients.backward.planner import Planner
from batchscope.gradients.observing.inside import InsideCapture
from batchscope.gradients.observing.outputs import Call
from batchscope.gradients.rules import REWRITES
from batchscope.gradients.subject.batches import Batch
from batchscope.gradients.subject.failures import described
from batchscope.gradients.subject.losses import sum_of_outputs
from batchscope.gradients.subject.subject import Subject
from batchscope.gradients.tracing.calls import name_of
from batchscope.gradients.tracing.probe import PROBED, probe, readable
from batchscope.gradients.tracing.trace import Trace


@dataclass(frozen=True)
class Rehearsal:
    """trace: of the calls, None when the loop's own passes will not do; why: then, the reason.

    is_coupled: whether one example changes another one's outputs. is_random: whether two passes differ (dropout).
    is_training: the mode of the model it holds for. second, shared: how its inputs are to be taken, see Batch.
    """

    trace: Trace | None = None
    why: str = ""
    is_coupled: bool = False
    is_random: bool = False
    is_training: bool = True
    second: bool = False
    shared: frozenset[int] = frozenset()


def rehearse(model: nn.Module, parameters: Mapping[str, Tensor], batch: Batch, planner: Planner) -> Rehearsal:
    """Rehearse on a batch of at least two examples. Leaves `.grad` alone; to be called within `untouched`."""
    subject = Call(model, sum_of_outputs)
    whole = replace(batch, targets=torch.arange(batch.num_examples))
    try:
        return _rehearsed(subject, parameters, whole, planner)
    except Exception as error:  # the reason is kept, and the second pass reports its own
        found = Rehearsal(why=described(error), is_training=model.training)
    other = readable(subject, whole)
    if other is None:
        return found
    with contextlib.suppress(Exception):
        found = _rehearsed(subject, parameters, other, planner)
    return replace(found, second=other.second, shared=other.shared)


def _rehearsed(subject: Subject, parameters: Mapping[str, Tensor], batch: Batch, planner: Planner) -> Rehearsal:
    found = probe(subject, batch, rewrites={})
    finding = Rehearsal(is_random=not found.is_deterministic, is_training=subject.model.training)
    if found.is_deterministic and found.coupled_examples():
        return replace(finding, is_coupled=True)
    if found.trace is None:
        return replace(finding, why="its calls depend on the number of examples")
    rewritten = [event.function for event in found.trace.events if event.function in REWRITES]
    if rewritten:  # one call for a whole recurrent or attention layer; taken apart, its numbers would differ
        return replace(finding, why=f"{name_of(rewritten[0])} has to be taken apart")
    _try_capture(subject, parameters, batch.head(PROBED), found.trace, planner)
    return replace(finding, trace=found.trace)


def _try_capture(
    subject: Subject, parameters: Mapping[str, Tensor], head: Batch, trace: Trace, planner: Planner
) -> None:
    """Raise what the capture of a forward and backward pass raises, or what it cannot do."""
    capture = InsideCapture(parameters, trace, head.num_examples, planner, norms_alone=True)
    with torch.enable_grad():
        losses = subject.losses(head, capture)
        gradients = torch.autograd.grad(losses.sum(), list(parameters.values()), allow_unused=True)
    reached = {name: g for name, g in zip(parameters, gradients, strict=True) if g is not None}
    capture.finish(reached)
