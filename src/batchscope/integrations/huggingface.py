"""`NoiseScaleTrainerCallback`: the noise scale of a run under the Hugging Face Trainer, wherever it reports to.

from batchscope.integrations.huggingface import NoiseScaleTrainerCallback
trainer = Trainer(model, arguments, train_dataset=data)
noise = NoiseScaleTrainerCallback(trainer, every=50)
trainer.train()
print(noise)
"""

from __future__ import annotations

from typing import Any, cast

from batchscope.errors import InputError
from batchscope.integrations.noise_record import HasRecord, NoiseRecord, harmless

try:
    from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
except ImportError:
    raise InputError("the callback needs transformers: pip install 'batchscope[huggingface]'") from None

KEY = "batchscope.noise_scale"  # in the trainer_state.json of a checkpoint


class NoiseScaleTrainerCallback(HasRecord, TrainerCallback):
    """Observe the noise scale every `every` steps of the optimizer, and log it as ``batchscope/noise_scale`` and more.

    trainer: the callback adds itself to it, and logs by its `log`: to `state.log_history` and all of `report_to`.
        Without it (``Trainer(callbacks=[NoiseScaleTrainerCallback()])``) the numbers go to `state.log_history` alone,
        as Trainer gives its callbacks no way to log.
    every, options: see `NoiseRecord`. An example is a sequence; its loss is the sum over its tokens, also where Trainer
    divides by the tokens of all micro-batches (`num_items_in_batch`).

    A checkpoint's trainer_state.json holds the history, and a resumed run goes on with it. With `grow`, accumulation
    changes where an epoch begins; the number of epochs stays, that of steps falls.
    """

    def __init__(self, trainer: Trainer | None = None, every: int = 50, **options: Any) -> None:
        self.record, self._trainer = NoiseRecord(every, **options), trainer
        if trainer is not None:
            trainer.add_callback(self)

    @harmless
    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **parts: Any
    ) -> None:
        """Go on with the record of a checkpoint, and begin to observe."""
        saved = _kept(state).get(KEY)
        if saved and not self.record.history:
            self.record.unpack(saved["attributes"])
        self.record.begin(parts["model"], parts["optimizer"], state.global_step)

    @harmless
    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **parts: Any) -> None:
        """Log the noise scale of the step, if it was observed."""
        metrics = self.record.after_step(args.world_size)
        if metrics and self._trainer is not None:
            self._trainer.log(metrics)
        elif metrics:
            state.log_history.append({**metrics, "epoch": state.epoch, "step": state.global_step})
        self._keep(state, control)

    @harmless
    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **parts: Any
    ) -> None:
        """Set the accumulation of gradients by the noise scale, where it may grow."""
        now = args.gradient_accumulation_steps
        if self.record.grow is not None:
            args.gradient_accumulation_steps = self.record.accumulation(state.global_step, now, args.world_size)

    @harmless
    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **parts: Any) -> None:
        """Keep the record for the checkpoint of the epoch."""
        self._keep(state, control)

    @harmless
    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **parts: Any) -> None:
        """End of observing."""
        self.record.end()

    def _keep(self, state: TrainerState, control: TrainerControl) -> None:
        """Into the state that the checkpoint about to be written holds; the key is no callback's: Trainer leaves it."""
        if control.should_save:
            _kept(state)[KEY] = {"args": {}, "attributes": self.record.packed()}


def _kept(state: TrainerState) -> dict[str, Any]:
    """What trainer_state.json keeps of callbacks, by name; TrainerState is given callbacks and makes this of them."""
    return cast(dict[str, Any], state.stateful_callbacks)
