"""BatchNorm in training mode, without micro-batches or ranks: a second pass over the two halves of a batch.

Each half is normalised by its own statistics, as a training step on half the batch would be. Where the form of the
loss is known its targets are too (see scale), and the loss of a half is the loop's own; else it is taken to first
order, with the output gradients of the whole batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from batchscope.errors import MeasurementError
from batchscope.gradients.observing.outputs import tensors_of
from batchscope.gradients.observing.passes import ForwardPass
from batchscope.gradients.observing.replay import Recording, Replay, version_of
from batchscope.gradients.observing.scale import losses_of
from batchscope.gradients.subject.batches import Batch


def of_halves(one: ForwardPass) -> tuple[list[int], float, float, str]:
    """(sizes, sum_k b_k ‖ḡ_k‖², Q, how) of the halves of a forward pass; the model is left as it was.

    MeasurementError for fewer than 4 examples, or when the parameters have changed since.
    """
    recording = one.recording
    size = one.num_examples
    if size < 4:
        raise MeasurementError(f"a batch of {size} examples has no two halves of at least 2 for BatchNorm")
    if recording.versions != version_of(recording.model):
        raise MeasurementError("the parameters changed before the halves of the batch could be measured")
    batch = Replay(recording).batch
    gradients = []
    for start in (0, 1):  # every other example: neighbours may be alike
        with recording.setting():
            half = batch.take(torch.arange(start, size, 2))
            gradients.append([gradient * one.factor for gradient in _gradients(recording, one, half)])
    sizes = [(size + 1) // 2, size // 2]
    squares = [sum(_square(g) for g in half) for half in gradients]
    whole = sum(_square(a + b) for a, b in zip(*gradients, strict=True))
    is_exact = (
        one.scale is not None and len(recording.used()) == 1 and losses_of(one.scale, batch.targets[0]) is not None
    )
    how = "a second pass over the two halves of the batch" + ("" if is_exact else ", the loss taken to first order")
    return sizes, sum(s / n for s, n in zip(squares, sizes, strict=True)), whole, how


def _gradients(recording: Recording, one: ForwardPass, half: Batch) -> list[Tensor]:
    """Autograd's gradients of a half's loss, scaled as the loop's; zeros where it does not depend on a parameter."""
    args, kwargs = half.inputs  # copies: they were taken by index
    found = list(tensors_of(recording.model(*args, **kwargs)))
    used = recording.used()
    if any(found[position].shape != v.shape for position, v in zip(used, half.targets, strict=True)):
        raise MeasurementError(
            "an output has another shape for half a batch, apart from the number of examples: they are coupled by "
            "more than statistics of the batch (similarities of all pairs), and no part of them has a loss"
        )
    exact = losses_of(one.scale, half.targets[0]) if one.scale is not None and len(used) == 1 else None
    if exact is not None and one.scale is not None:
        total = exact(found[used[0]].float(), half.targets[0]) / one.scale.factor
    else:
        parts = zip(used, half.targets, strict=True)
        total = torch.stack([(found[position] * v.to(found[position].dtype)).sum() for position, v in parts]).sum()
    parameters = [p for p in recording.model.parameters() if p.requires_grad]
    with torch.autocast(total.device.type, enabled=False):
        gradients = torch.autograd.grad(total, parameters, allow_unused=True)
    return [
        torch.zeros_like(p) if gradient is None else gradient for p, gradient in zip(parameters, gradients, strict=True)
    ]


def _square(gradient: Tensor) -> float:
    return float(torch.linalg.vector_norm(gradient, dtype=torch.float64)) ** 2
