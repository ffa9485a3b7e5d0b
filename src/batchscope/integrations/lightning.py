"""`NoiseScaleCallback`: the noise scale of a run under Lightning's Trainer, in whatever loggers it has.

from batchscope.integrations.lightning import NoiseScaleCallback
noise = NoiseScaleCallback(every=50)
Trainer(callbacks=[noise], ...).fit(model); print(noise)
"""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from batchscope.errors import InputError
from batchscope.integrations.first_called import FirstCalled
from batchscope.integrations.noise_record import HasRecord, NoiseRecord, harmless

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ImportError:
    raise InputError("the callback needs Lightning: pip install 'batchscope[lightning]'") from None


class NoiseScaleCallback(HasRecord, Callback):
    """Observe the noise scale every `every` steps of the optimizer, and log it as ``batchscope/noise_scale`` and more.

    every, options: see `NoiseRecord`. module: name of the part of the LightningModule that `training_step` calls with a
    batch ("net"); None: the first that is called, of the LightningModule and the parts that hold all its parameters.
    With several processes, each one's own examples are measured, and the batch is that of all.

    A checkpoint holds the history, and a resumed run goes on with it. With `grow`, accumulation changes where a step
    ends that is also a step of the new accumulation.
    """

    def __init__(self, every: int = 50, *, module: str | None = None, **options: Any) -> None:
        self.record, self._module = NoiseRecord(every, **options), module
        self._search: FirstCalled | None = None

    @harmless
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to observe, the named module or the first that is called."""
        optimizer = trainer.optimizers[0] if len(trainer.optimizers) == 1 else None
        if self._module is None:
            self._search = FirstCalled(pl_module, lambda m: self.record.begin(m, optimizer, trainer.global_step))
        else:
            self.record.begin(_named(pl_module, self._module), optimizer, trainer.global_step)

    @harmless
    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *batch: Any) -> None:
        """Log the noise scale of the step, if it was observed; then let the batch grow, on every process or on none."""
        self._log(trainer)
        if self.record.grow is not None:
            self._grow(trainer, batch[-1] + 1)

    @harmless
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End of observing."""
        self._end()

    @harmless
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """End of observing."""
        self._end()

    def state_dict(self) -> dict[str, Any]:
        """The record, for Lightning's checkpoint."""
        return self.record.packed()

    @harmless
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the record of a checkpoint."""
        self.record.unpack(state_dict)

    def _end(self) -> None:
        if self._search is not None:
            self._search.end()
        self.record.end()

    @harmless
    def _log(self, trainer: Trainer) -> None:
        if metrics := self.record.after_step(trainer.world_size):
            for logger in trainer.loggers:
                logger.log_metrics(metrics, step=trainer.global_step)

    def _grow(self, trainer: Trainer, batches: int) -> None:
        """Lightning counts micro-batches from the start of an epoch: old and new accumulation must both end here."""
        now = trainer.accumulate_grad_batches
        wanted = self.record.accumulation(trainer.global_step, now, trainer.world_size)
        if wanted != now and batches % math.lcm(now, wanted) == 0:
            trainer.accumulate_grad_batches = wanted


def _named(module: nn.Module, name: str) -> nn.Module:
    try:
        return module.get_submodule(name)
    except AttributeError:
        parts = ", ".join(repr(part) for part, _ in module.named_children())
        raise InputError(f"module={name!r}: the LightningModule has no such part; expected one of {parts}") from None
