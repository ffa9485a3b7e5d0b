"""The thorough way: a second pass over the examples of an observed step, apart from the loop.

What a forward pass was called with is kept, and the gradients v that the loop's backward pass sent to its outputs z.
Example i's gradient is that of <z_i, v_i>: everything behind the outputs, whatever the loss, is in v. So the model can
be measured by all means that `measure` has, a loop over single examples at the end, and nothing happens in the loop's
own graph: checkpointed, compiled, recurrent, differentiating models are all the same here.

The sum over examples must be the gradient that the loop got. That is checked every time, and a sum that differs is
never passed off as a measurement.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from batchscope.errors import MeasurementError
from batchscope.gradients.backward.audit import allowed
from batchscope.gradients.backward.collect import Measured, Result
from batchscope.gradients.backward.measurer import Measurer
from batchscope.gradients.backward.planner import Planner
from batchscope.gradients.observing.loop_gradients import dense, sq_norm
from batchscope.gradients.observing.outputs import Call, frontier, tensors_of
from batchscope.gradients.observing.own_passes import OwnPasses
from batchscope.gradients.observing.walk import Walk
from batchscope.gradients.subject.batches import Batch
from batchscope.gradients.subject.leaves import leaves_of
from batchscope.gradients.subject.state import Buffers, containers_untouched, eager, untouched
from batchscope.gradients.subject.subject import copy_of

MISMATCH = (
    "the loss depends on it by another way than the model's outputs (a penalty on weights or gradients), a hook "
    "changes its gradient, the forward pass is random, or its examples are coupled"
)
NOT_REACHED = "the backward pass left it out (`inputs=`), or a hook changes its gradient"
SLACK = 3.0  # times the audit's tolerance: two passes round differently, in another order


@dataclass(eq=False)
class Recording:
    """What is needed to repeat a forward pass.

    batch: the arguments. generators: states of python's and numpy's. num_parameters: of the model then. outputs: its
    differentiable outputs, in order. output_versions: as they were returned. gradients: position among them -> v.
    own: the passes that repeat it.
    """

    model: nn.Module
    batch: Batch
    randomness: Tensor
    cuda_randomness: Tensor | None
    buffers: Buffers
    autocast: tuple[str, bool, torch.dtype]
    versions: int
    input_versions: list[int]
    own: OwnPasses
    generators: tuple[Any, Any] | None = None
    num_parameters: int = 0
    outputs: list[Tensor] = field(default_factory=list)
    output_versions: list[int] = field(default_factory=list)
    gradients: dict[int, Tensor] = field(default_factory=dict)

    @classmethod
    def start(
        cls,
        model: nn.Module,
        walk: Walk,
        batch: Batch,
        own: OwnPasses,
        copies: bool = False,
        earlier: Buffers | None = None,
        is_thorough: bool = True,
    ) -> Recording:
        """Before the forward pass. walk: over the model. copies: keep copies of the inputs, because something
        changes them in place. earlier: buffers of a pass before. is_thorough: keep what is hardly ever needed too."""
        batch = batch.map_inputs(copy_of) if copies else batch
        device = walk.parameters[0].device
        kind = device.type
        autocast = (kind, torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind))
        cuda = torch.cuda.get_rng_state(device) if kind == "cuda" else None
        randomness = torch.random.get_rng_state()
        buffers = Buffers(walk.modules, earlier)
        versions, input_versions = versions_of(walk.parameters), _input_versions(batch)
        legacy = (random.getstate(), np.random.get_state()) if is_thorough else None  # noqa: NPY002 - of the user
        return cls(
            model, batch, randomness, cuda, buffers, autocast, versions, input_versions, own, legacy,
            len(walk.parameters),
        )  # fmt: skip

    def returned(self, outputs: list[Tensor]) -> None:
        """The forward pass has given its differentiable outputs."""
        self.outputs, self.output_versions = outputs, [output._version for output in outputs]

    @property
    def has_its_inputs(self) -> bool:
        """Whether no input has been changed in place since."""
        return self.input_versions == _input_versions(self.batch)

    @property
    def has_changed_outputs(self) -> bool:
        """Whether an output has been changed in place since it was returned."""
        return [output._version for output in self.outputs] != self.output_versions

    @property
    def is_low(self) -> bool:
        """Whether half precision is at work."""
        return self.autocast[1] or any(p.dtype.itemsize < 4 for p in self.model.parameters())

    def told_by(self) -> list[int]:
        """Positions of the outputs whose gradients say all: those that no other output is computed from."""
        wanted = [position for position in sorted(self.gradients) if self.outputs[position].ndim]
        return [wanted[k] for k in frontier([self.outputs[position] for position in wanted])]

    def used(self) -> list[int]:
        """Positions of the outputs whose gradients are to be followed back; MeasurementError without any."""
        if not (used := self.told_by()):
            raise MeasurementError("no gradient reached an output of the model that has an axis of examples")
        return used

    @contextmanager
    def setting(self) -> Iterator[None]:
        """The surroundings of the forward pass; afterwards everything is as it was."""
        if not self.has_its_inputs:
            raise MeasurementError("the model's inputs were changed in place, so its forward pass cannot be repeated")
        kind, is_on, dtype = self.autocast
        with ExitStack() as stack:
            stack.enter_context(untouched(self.model, self.own.own_gradients))
            stack.enter_context(containers_untouched(self.model))
            self.model.__dict__["_backward_pre_hooks"] = OrderedDict()  # have acted on the gradients already
            stack.enter_context(torch.enable_grad())
            stack.enter_context(torch.autocast(kind, dtype, enabled=is_on))
            stack.enter_context(eager())
            self.restore()
            yield

    def restore(self) -> None:
        """Buffers and random states as they were before the forward pass."""
        self.buffers.restore()
        torch.random.set_rng_state(self.randomness)
        if self.generators is not None:
            random.setstate(self.generators[0])
            np.random.set_state(self.generators[1])  # noqa: NPY002
        if self.cuda_randomness is not None:
            torch.cuda.set_rng_state(self.cuda_randomness, next(self.model.parameters()).device)


class Replay(Call):
    """The model with <z, v> for a loss. A forward pass over the whole batch draws the random numbers of the loop's."""

    def __init__(self, recording: Recording) -> None:
        self._recording, self._used = recording, recording.used()
        super().__init__(recording.model, self._contributions)
        size = recording.batch.num_examples
        gradients = [_first(recording.gradients[position], size) for position in self._used]
        self.batch = replace(recording.batch, targets=gradients)

    def outputs(self, batch: Batch) -> Any:
        """The model's outputs, with the random numbers that the loop's own pass began with."""
        self._recording.restore()
        return super().outputs(batch)

    def _contributions(self, outputs: Any, gradients: list[Tensor]) -> Tensor:
        """<z_i, v_i> per example, [N]."""
        found = list(tensors_of(outputs))
        if len(found) != len(self._recording.outputs):
            raise MeasurementError("the model returned other outputs when its forward pass was repeated")
        total: Tensor | None = None
        for position, v in zip(self._used, gradients, strict=True):
            z = _like(found[position], v)
            part = ((z * v.conj()).real if z.is_complex() else z * v.to(z.dtype)).reshape(len(v), -1)
            part = part.sum(1, dtype=torch.promote_types(part.dtype, torch.float32))
            total = part if total is None else total + part
        assert total is not None
        return total


def measure_again(
    recording: Recording, planner: Planner, loop: Mapping[str, Tensor], sq_norms: Mapping[str, Tensor]
) -> dict[str, Result]:
    """Per-parameter results whose sums are the loop's gradients (unscaled), by the fastest way that gives them.

    loop: name -> the gradient that the loop's backward pass gave; parameters it did not reach are missing. sq_norms:
    their squared norms, compared instead where the gradients were not kept.
    MeasurementError when no way does, with the reason of the last.
    """
    if recording.versions != version_of(recording.model):
        raise MeasurementError("the parameters changed during the backward pass, so it cannot be repeated")
    subject = Replay(recording)
    measurer = Measurer(subject, planner, audited=False)  # the sums are compared with the loop
    reason: Exception | None = None
    for attempt in ("measured", "one by one"):
        try:
            with recording.setting():
                results = measurer.measure(subject.batch) if attempt == "measured" else _one_by_one(subject)
            check_sums(results, loop, recording.is_low, sq_norms)
        except Exception as error:  # the next way may do; the last error is raised
            reason = error
        else:
            return results
    assert reason is not None
    if isinstance(reason, MeasurementError):
        raise reason
    raise MeasurementError(
        f"the model cannot be run on single examples ({type(reason).__name__}: {reason})"
    ) from reason


def _one_by_one(subject: Replay) -> dict[str, Result]:
    """The slow truth: every example alone, by plain autograd."""
    squares: dict[str, list[Tensor]] = {name: [] for name in subject.parameters}
    totals: dict[str, Tensor] = {}
    for i in range(subject.batch.num_examples):
        for name, gradient in subject.gradients_of_one(subject.batch, i, subject.parameters).items():
            squares[name].append(sq_norm(gradient))
            if name in totals:
                totals[name] += gradient
            else:
                totals[name] = dense(gradient)
    measured = Measured(("per-example loop",), "loop")
    return {name: Result(torch.stack(squares[name]), total, measured) for name, total in totals.items()}


def check_sums(
    results: Mapping[str, Result],
    loop: Mapping[str, Tensor],
    is_low: bool,
    sq_norms: Mapping[str, Tensor] | None = None,
) -> None:
    """MeasurementError unless the summed gradients are those of the loop's backward pass. is_low: half precision."""
    terms = {name: float(result.sq_norms.double().sum()) ** 0.5 for name, result in results.items()}
    whole = sum(value * value for value in terms.values()) ** 0.5
    for name, result in results.items():
        mine = dense(result.grad_sum)
        norm, difference = _distance(mine, loop.get(name), (sq_norms or {}).get(name))
        if not difference <= SLACK * allowed(norm + terms[name], whole, mine.dtype, is_low):
            raise MeasurementError(
                f"the per-example gradients of {name!r} do not add up to the gradient of the loop (difference of norm "
                f"{difference:.3g}, of a norm of {norm:.3g}): {NOT_REACHED if norm == 0 else MISMATCH}"
            )


def _distance(mine: Tensor, theirs: Tensor | None, sq_norm: Tensor | None) -> tuple[float, float]:
    """(norm of the loop's gradient, distance of the sum from it); of the norms alone where only they are known."""
    if theirs is not None:
        difference = torch.linalg.vector_norm(mine - theirs.to(mine.dtype))
        return float(torch.linalg.vector_norm(theirs)), float(difference)
    norm = 0.0 if sq_norm is None else float(sq_norm) ** 0.5
    return norm, abs(float(torch.linalg.vector_norm(mine)) - norm)


def _input_versions(batch: Batch) -> list[int]:
    """Of every input, a number that grows whenever it is changed in place."""
    tensors = (leaf for leaf in leaves_of(batch.inputs) if isinstance(leaf, Tensor))
    return [0 if tensor.is_inference() else tensor._version for tensor in tensors]


def version_of(model: nn.Module) -> int:
    """Grows whenever a parameter is changed in place."""
    return versions_of(model.parameters())


def versions_of(parameters: Iterable[Tensor]) -> int:
    """Grows whenever one of them is changed in place."""
    return sum(parameter._version for parameter in parameters)


def _first(v: Tensor, num_examples: int) -> Tensor:
    """v with the examples in the first axis."""
    axes = [axis for axis, size in enumerate(v.shape) if size == num_examples]
    if 0 in axes:
        return v
    if len(axes) != 1:
        raise MeasurementError(
            f"an output of shape {list(v.shape)} does not tell where its {num_examples} examples are, as many as the "
            "first axis of the first input has entries: call the model with an axis of examples"
        )
    return v.movedim(axes[0], 0)


def _like(z: Tensor, v: Tensor) -> Tensor:
    """z with the examples in the first axis, as in v [N, ...]."""
    if z.shape == v.shape or z.numel() == v.numel() == 0:
        return z
    if z.numel() == v.numel() and len(v) == 1:  # one example: a model that squeezes
        return z.reshape(v.shape)
    for axis in range(1, z.ndim):
        if z.movedim(axis, 0).shape == v.shape:
            return z.movedim(axis, 0)
    raise MeasurementError(f"an output has shape {list(z.shape)} for {len(v)} examples, expected {list(v.shape)}")
