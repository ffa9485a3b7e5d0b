"""The subject of a measurement: a model, its loss and the choice for BatchNorm.

Everything that measuring, observing, probing and auditing ask of a model: losses of a batch, gradients by plain
autograd, what defines the measurement (`meaning`), and to be left as it was (`running`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from batchscope.errors import BatchscopeError, InputError
from batchscope.gradients.subject.batches import Batch, call
from batchscope.gradients.subject.batchnorm import FrozenStatistics, microbatch_norm
from batchscope.gradients.subject.failures import model_error, refuse_out_of_memory
from batchscope.gradients.subject.leaves import leaves_of, map_leaves
from batchscope.gradients.subject.losses import Loss, own_loss, per_example_losses, unreduced
from batchscope.gradients.subject.own_loss import OwnLoss
from batchscope.gradients.subject.state import Buffers, eager, untouched
from batchscope.gradients.tracing.calls import Function, Interceptor


@dataclass(eq=False)
class Subject:
    """A model whose per-example gradients are asked for.

    loss: loss(outputs, targets) -> per-example losses; `sum_of_outputs` where there is none; "model" where the model
    computes its own, whose per-example loss is that of a batch of one. `terms`: how the losses of a larger batch are
    recovered from one pass, where `recover` has found that they can be.
    batchnorm: the choice for BatchNorm, see batchnorm.py. notes: conversions that were made, for the report.
    copies: examples in a "batch of one". 1, or more copies of the same example for a model that loses the axis of
    examples when there is one (`squeeze()`), or that only runs on batches of a fixed size.
    """

    model: nn.Module
    loss: Loss | str
    batchnorm: str = "refuse"
    notes: list[str] = field(default_factory=list)
    copies: int = 1

    def __post_init__(self) -> None:
        self._unreduced = None if isinstance(self.loss, str) else unreduced(self.loss, self.say)
        self._frozen = FrozenStatistics() if self.batchnorm == "frozen" else None
        self.terms: OwnLoss | None = None
        self._buffers: Buffers | None = None
        self._writes_inputs: bool | None = None  # whether the forward pass changes its inputs in place; None: not known

    def say(self, note: str) -> None:
        """Add a note, once."""
        if note not in self.notes:
            self.notes.append(note)

    @cached_property
    def parameters(self) -> dict[str, nn.Parameter]:
        """Name -> parameter, of those that require a gradient."""
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}

    @property
    def device(self) -> torch.device:
        """Of the parameters; of the CPU when there are none."""
        return next((p.device for p in self.model.parameters()), torch.device("cpu"))

    @property
    def meaning(self) -> Mapping[Function, Function]:
        """Rewrites that define what is measured (the choice for BatchNorm); the plain gradients run under them too."""
        terms = {} if self.terms is None else self.terms.rewrites
        if self._frozen is not None:
            return {**terms, **self._frozen.rewrites()}
        return {**terms, F.batch_norm: microbatch_norm} if self.batchnorm == "microbatch" else terms

    @contextmanager
    def running(self) -> Iterator[None]:
        """Within this context the model may be run; afterwards it is as it was. Every pass starts from the same
        buffers, so that what a forward pass updates does not tell one pass from the next."""
        with ExitStack() as stack:
            for context in (torch.inference_mode(False), untouched(self.model), eager(), torch.enable_grad()):
                stack.enter_context(context)
            self._buffers = Buffers(self.model.modules())
            try:
                yield
            finally:
                self._buffers = None

    def prepare(self, batch: Batch) -> None:
        """Fix what the whole batch decides: the statistics of batchnorm="frozen". MeasurementError when it fails."""
        if self._frozen is None:
            return
        self._frozen.record()
        try:
            with torch.no_grad(), Interceptor(self.meaning):
                self.call(batch)
        except BatchscopeError:
            raise
        except Exception as error:
            refuse_out_of_memory(error)
            raise model_error(error, batch.num_examples) from error

    def losses(self, batch: Batch, mode: Interceptor | None = None) -> Tensor:
        """Per-example losses [N] of a forward pass under `mode` (default: only what defines the measurement)."""
        with mode if mode is not None else Interceptor(self.meaning):
            if self._unreduced is not None:
                outputs = self.outputs(batch)
                return per_example_losses(self._unreduced, outputs, batch.targets, batch.num_examples, self.say)
            if self.terms is not None and batch.num_examples > 1:
                return self.terms.losses(own_loss(self.outputs(batch)), batch.num_examples)
            singles = (batch.take(torch.tensor([i])) for i in range(batch.num_examples))
            return torch.stack([own_loss(self.outputs(single)) for single in singles])

    def raw_loss(self, batch: Batch) -> Tensor:
        """What the loss returns for a batch, of any shape."""
        with Interceptor(self.meaning):
            outputs = self.outputs(batch)
            return own_loss(outputs) if self._unreduced is None else self._unreduced(outputs, batch.targets)

    def outputs(self, batch: Batch) -> Any:
        """The model's outputs; to be called under a mode that holds `meaning`."""
        if self._buffers is not None:
            self._buffers.restore()
        if self._frozen is not None:
            self._frozen.replay()
        return self.call(batch)

    def call(self, batch: Batch) -> Any:
        """The model on a batch whose tensors stay as they are, also when the model changes its inputs in place."""
        if self._writes_inputs is False:
            return self.invoke(batch.inputs)
        inputs = map_leaves(copy_of, batch.inputs)
        copies = [leaf for leaf in leaves_of(inputs) if isinstance(leaf, Tensor)]
        versions = [leaf._version for leaf in copies]
        outputs = self.invoke(inputs)
        if self._writes_inputs is None:
            self._writes_inputs = any(x._version != before for x, before in zip(copies, versions, strict=True))
        return outputs

    def invoke(self, inputs: Any) -> Any:
        """The model called with the inputs of a batch."""
        return call(self.model, inputs)

    def loss_of_one(self, batch: Batch, i: int) -> Tensor:
        """The loss of example i, from a batch that holds it alone, a number with its graph.

        Alone means `copies` times; where the model does not run so, more copies are tried and kept. The first error if
        it never does.
        """
        first: Exception | None = None
        for copies in sorted({self.copies, *(c for c in (2, batch.num_examples) if c > self.copies)}):
            try:
                loss = self.losses(batch.take(torch.full((copies,), i)))[0]
            except Exception as error:
                refuse_out_of_memory(error)
                first = first or error
            else:
                self.copies = copies
                return loss
        assert first is not None
        raise first

    def recover(self, batch: Batch, tolerance: float) -> bool:
        """Try to recover the losses of a batch from one pass; believed where it gives those of single examples.

        tolerance: relative, on losses.
        """
        try:
            singles = self.losses(batch).detach()
            self.terms = OwnLoss()
            if torch.allclose(self.losses(batch).detach(), singles, rtol=tolerance, atol=tolerance):
                return True
        except Exception as error:  # of a model that computes its loss in another way; one at a time does for all
            refuse_out_of_memory(error)
        self.terms = None
        return False

    def settle_copies(self, batch: Batch, losses: Tensor, tolerance: float) -> None:
        """Set `copies` to the least number with which the first example's loss is the one it has in the batch."""
        for copies in sorted({1, 2, batch.num_examples}):
            self.copies = copies
            try:
                if abs(float(self.loss_of_one(batch, 0).detach() - losses[0])) <= tolerance:
                    return
            except Exception as error:  # loss_of_one goes through them again, and reports
                refuse_out_of_memory(error)
        self.copies = 1

    def gradients_of_one(self, batch: Batch, i: int, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Example i's gradient, from a batch that holds it alone; zeros for parameters without influence."""
        return self._gradients(self.loss_of_one(batch, i), parameters)

    def plain_gradients(self, batch: Batch, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Autograd's gradient of the summed losses, in float32 at least."""
        return self._gradients(self.losses(batch).sum(), parameters)

    def gradients_of_whole(self, batch: Batch) -> dict[str, Tensor]:
        """Every parameter's gradient of all that the loss returns, added up."""
        return self._gradients(self.raw_loss(batch).sum(), self.parameters)

    @staticmethod
    def _gradients(loss: Tensor, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if not loss.requires_grad:
            raise InputError(
                "the loss carries no graph back to the parameters: expected a loss that depends on the model's outputs "
                "(not detached, not computed under torch.no_grad)"
            )
        with torch.autocast(loss.device.type, enabled=False):
            grads = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        pairs = zip(parameters.items(), grads, strict=True)
        return {name: full(torch.zeros_like(p) if grad is None else grad) for (name, p), grad in pairs}


def copy_of(leaf: Any) -> Any:
    """A tensor of its own, a leaf of the graph as the original is; anything else as it is."""
    return leaf.detach().clone().requires_grad_(leaf.requires_grad) if isinstance(leaf, Tensor) else leaf


def full(gradient: Tensor, copy: bool = False) -> Tensor:
    """A gradient with every entry there (tables may have sparse ones), in float32 at least."""
    gradient = gradient if gradient.layout == torch.strided else gradient.to_dense()
    return gradient.to(torch.promote_types(gradient.dtype, torch.float32), copy=copy)
