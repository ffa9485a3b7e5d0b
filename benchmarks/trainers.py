"""What the callbacks for Lightning and the Hugging Face Trainer cost: rows of `benchmarks.observe`.

A round trains a fresh model for `SPAN` steps under the trainer alone and `SPAN` steps with the callback, in turns, from
the same weights on the same batches. Timed are the steps after the first 50, with their observations, from one
optimizer step to another: what a trainer does before and after is the same for both.
"""

from __future__ import annotations

import contextlib
import io
import logging
import statistics
import tempfile
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.turns import Clock, ratios, spread_of

EVERY = 50
FIRST, LAST = EVERY, 3 * EVERY  # steps timed: two observed among a hundred
Timed = tuple[float, nn.Module, Any]


class Marks:
    """When steps FIRST and LAST ended."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._at = clock, dict.fromkeys((FIRST, LAST), 0.0)

    def note(self, step: int) -> None:
        """The step of this number, counted from 1, has ended."""
        if step in self._at and not self._at[step]:
            self._at[step] = self._clock()

    @property
    def seconds(self) -> float:
        """From one to the other."""
        return self._at[LAST] - self._at[FIRST]


def lightning(
    build: Callable[[], nn.Module], loss: Callable[..., Tensor], data: Tensor, observed: bool, clock: Clock
) -> Timed:
    """Train under Lightning; (seconds, model, callback)."""
    import lightning.pytorch as pl

    from batchscope.integrations.lightning import NoiseScaleCallback

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = build()

        def training_step(self, batch: Any, index: int) -> Tensor:
            return loss(self.net, tuple(batch))

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), 1e-4)

    marks = Marks(clock)

    class Stop(pl.Callback):
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            marks.note(trainer.global_step)

    noise = NoiseScaleCallback(every=EVERY)
    batches = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(data.repeat(LAST, 1)), len(data))
    module = Module()
    trainer = pl.Trainer(
        max_steps=LAST, logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        accelerator="cpu", devices=1, callbacks=[*([noise] if observed else []), Stop()],
    )  # fmt: skip
    trainer.fit(module, batches)
    return marks.seconds, module, noise if observed else None


def hugging_face(build: Callable[[], nn.Module], data: Tensor, observed: bool, clock: Clock) -> Timed:
    """Train under the Hugging Face Trainer; (seconds, model, callback)."""
    import transformers

    from batchscope.integrations.huggingface import NoiseScaleTrainerCallback

    marks = Marks(clock)

    class Stop(transformers.TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            marks.note(state.global_step)

    class InOrder(transformers.Trainer):
        def _get_train_sampler(self, *_: Any) -> Any:
            return torch.utils.data.SequentialSampler(examples)

    examples = [{"input_ids": ids, "labels": ids} for ids in data.repeat(LAST, 1)]
    with tempfile.TemporaryDirectory() as folder:
        arguments = transformers.TrainingArguments(
            folder, per_device_train_batch_size=len(data), max_steps=LAST, report_to=[], save_strategy="no",
            disable_tqdm=True, use_cpu=True, logging_steps=10**6, learning_rate=1e-4,
        )  # fmt: skip
        model = build()
        trainer = InOrder(model, arguments, train_dataset=examples)
        noise = NoiseScaleTrainerCallback(trainer, every=EVERY) if observed else None
        trainer.add_callback(Stop())
        with contextlib.redirect_stdout(io.StringIO()):
            trainer.train()
    return marks.seconds, model, noise


def run(train: Callable[[bool], Timed], rounds: int) -> dict[str, Any]:
    """Trainer alone and with the callback, in turns; medians of the ratio."""
    for name in ("lightning.pytorch", "lightning.fabric", "transformers", "accelerate"):
        logging.getLogger(name).setLevel(logging.ERROR)
    plain: list[float] = []
    with_callback: list[float] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(rounds):
            torch.manual_seed(0)
            base, alone, _ = train(False)
            torch.manual_seed(0)
            seconds, watched, noise = train(True)
            with_callback.append(seconds)
            plain.append(base)
    same = all(torch.equal(a, b) for a, b in zip(alone.parameters(), watched.parameters(), strict=True))
    return {
        **spread_of(ratios(with_callback, plain)),
        "plain_ms": 1e3 * statistics.median(plain) / (LAST - FIRST), "notes": [str(note) for note in noise.notes],
        "observed_steps": len(noise.history), "parameters_equal": same,
    }  # fmt: skip
