"""torch's own losses, with the conversions whose meaning is plain: which output is meant, class axis, dtype of labels.

Each conversion is said in the report. What would broadcast examples against each other is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from batchscope.errors import InputError
from batchscope.gradients.subject.failures import message_of, refuse_out_of_memory
from batchscope.losses import logits_of

OF_CLASSES = {"cross_entropy", "nll_loss", "CrossEntropyLoss", "NLLLoss"}  # targets are class numbers
OF_NUMBERS = {  # targets have the outputs' shape
    "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits",
    "MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss", "BCELoss", "BCEWithLogitsLoss",
}  # fmt: skip


@dataclass(eq=False)
class TorchLoss:
    """loss(outputs, targets) of torch, unreduced. function: the call. name: torch's. say: takes a note."""

    function: Callable[[Any, Any], Tensor]
    name: str
    ignore_index: int
    say: Callable[[str], None]
    _class_axis_is_last: bool = field(default=False)

    def __call__(self, outputs: Any, targets: Any) -> Tensor:
        if self.name in OF_CLASSES | OF_NUMBERS and isinstance(targets, Tensor):
            if not isinstance(outputs, Tensor):
                outputs = logits_of(outputs)
                self.say("the model returns several outputs: the loss was given the logits, or the first tensor")
            convert = self._of_classes if self.name in OF_CLASSES else self._of_numbers
            outputs, targets = convert(outputs, targets)
        try:
            return self.function(outputs, targets)
        except (IndexError, RuntimeError) as error:
            refuse_out_of_memory(error)
            raise self._explained(error, outputs, targets) from error

    def _of_classes(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        if targets.is_floating_point() and targets.shape == outputs.shape:  # class probabilities
            return outputs, self._cast(targets, outputs.dtype)
        if targets.ndim == outputs.ndim and targets.ndim > 1 and targets.shape[1] == 1 < outputs.shape[1]:
            self.say(f"labels {['N', *targets.shape[1:]]} were taken as {['N', *targets.shape[2:]]}".replace("'", ""))
            targets = targets.squeeze(1)
        is_whole = not targets.is_floating_point() or bool((targets == targets.round()).all())
        if is_whole and targets.dtype != torch.uint8:  # which torch takes
            targets = self._cast(targets, torch.int64)
        if outputs.ndim > 2 and targets.shape == outputs.shape[:-1]:
            fits = targets.shape[1:] == outputs.shape[2:]  # as torch has it: classes in axis 1
            self._class_axis_is_last |= not fits
            if self._class_axis_is_last:
                self.say(
                    "logits [N, ..., classes]: the last axis was taken for the classes, losses added up per example"
                )
                outputs = outputs.movedim(-1, 1)
        if outputs.device.type == "cuda":  # there, a label out of range ends the process
            self._check_labels(outputs, targets)
        return outputs, targets

    def _of_numbers(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        try:
            shape = torch.Size(np.broadcast_shapes(outputs.shape, targets.shape))
        except ValueError:
            shape = torch.Size()
        if shape != outputs.shape:
            raise InputError(
                f"outputs {list(outputs.shape)} and targets {list(targets.shape)} would be broadcast against each "
                "other: "
                "expected targets of the outputs' shape; reshape one of them"
            )
        return outputs, self._cast(targets, outputs.dtype)

    def _cast(self, targets: Tensor, dtype: torch.dtype) -> Tensor:
        if targets.dtype == dtype or torch.is_autocast_enabled(targets.device.type):
            return targets
        self.say(f"targets of {targets.dtype} were converted to {dtype}")
        return targets.to(dtype)

    def _check_labels(self, outputs: Tensor, targets: Tensor) -> None:
        classes = outputs.shape[1] if outputs.ndim > 1 else outputs.shape[0]
        wrong = (targets != self.ignore_index) & ((targets < 0) | (targets >= classes))
        if bool(wrong.any()):
            place = wrong.nonzero()[0].tolist()
            raise InputError(
                f"label {int(targets[wrong][0])} (place {place} of a batch) is out of range: the outputs have "
                f"{classes} "
                f"classes, 0 to {classes - 1}"
            )

    def _explained(self, error: Exception, outputs: Any, targets: Any) -> Exception:
        known = isinstance(outputs, Tensor) and isinstance(targets, Tensor) and self.name in OF_CLASSES | OF_NUMBERS
        if not known:
            return error
        if self.name in OF_CLASSES and not targets.is_floating_point():
            self._check_labels(outputs, targets)
        return InputError(
            f"{self.name} does not take outputs {list(outputs.shape)} {outputs.dtype} with targets "
            f"{list(targets.shape)} {targets.dtype}: {message_of(error)}"
        )
