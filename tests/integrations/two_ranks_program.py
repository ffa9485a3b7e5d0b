"""Run by torchrun in the tests, or alone: a small model under a real trainer with its callback; one JSON a rank."""

from __future__ import annotations

import json
import os
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from batchscope.analysis import BatchRule
from batchscope.integrations.noise_record import BatchSizeHint, BatchSizeWarning

EXAMPLES, BATCH = 40, 10  # of all ranks together: four steps an epoch


def _own_mind(noise: Any) -> None:
    """Where batches grow, the second rank finds a noise scale of its own, too small for any growth."""
    found = noise.record.latest
    if noise.record.grow is not None and os.environ.get("RANK") == "1":
        noise.record.latest = lambda: (one := found()) and replace(one, value=1e-3, low=1e-3, high=1e-3)


def hugging_face(folder: Path, ranks: int, grow: BatchRule | None) -> Any:
    import transformers

    from batchscope.integrations.huggingface import NoiseScaleTrainerCallback

    class InOrder(transformers.Trainer):
        def _get_train_sampler(self, *_: Any) -> Any:
            return torch.utils.data.SequentialSampler(sentences)

    ids = torch.randint(1, 31, (EXAMPLES, 11), generator=torch.Generator().manual_seed(1))
    labels = ids.masked_fill(torch.arange(11) > torch.arange(EXAMPLES)[:, None] % 8 + 2, -100)  # 3 to 10 tokens count
    sentences = [{"input_ids": one, "labels": label} for one, label in zip(ids, labels, strict=True)]
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=31, n_positions=11, n_embd=16, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, use_cache=False,
    )  # fmt: skip
    arguments = transformers.TrainingArguments(
        str(folder), per_device_train_batch_size=BATCH // ranks, num_train_epochs=3, report_to=["tensorboard"],
        use_cpu=True, save_strategy="no", disable_tqdm=True, logging_steps=1000, learning_rate=1e-2,
    )  # fmt: skip
    one = InOrder(transformers.GPT2LMHeadModel(config), arguments, train_dataset=sentences)
    noise = NoiseScaleTrainerCallback(one, every=1, csv=folder / "noise.csv", beyond=1e-3, grow=grow)
    _own_mind(noise)
    one.train()
    return noise, [entry for entry in one.state.log_history if "batchscope/batch_size" in entry], one.model


def lightning(folder: Path, ranks: int, grow: BatchRule | None) -> Any:
    import lightning.pytorch as pl
    from lightning.pytorch.loggers import TensorBoardLogger

    from batchscope.integrations.lightning import NoiseScaleCallback

    class Classifier(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(7, 13), nn.Tanh(), nn.Linear(13, 5))

        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            return F.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), 1e-2)

    inputs = torch.randn(EXAMPLES, 7, generator=torch.Generator().manual_seed(3))
    data = TensorDataset(inputs, inputs[:, :5].argmax(1))
    share = DistributedSampler(data, ranks, int(os.environ.get("RANK", 0)), shuffle=False)
    noise = NoiseScaleCallback(every=1, csv=folder / "noise.csv", beyond=1e-3, grow=grow)
    torch.manual_seed(0)
    module = Classifier()
    one = pl.Trainer(
        max_epochs=3, accelerator="cpu", devices=ranks, strategy="ddp" if ranks > 1 else "auto", callbacks=[noise],
        default_root_dir=folder, logger=TensorBoardLogger(folder), log_every_n_steps=1, use_distributed_sampler=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    _own_mind(noise)
    one.fit(module, DataLoader(data, BATCH // ranks, sampler=share))
    return noise, [], module


def main(which: str, folder: str, grows: str = "") -> None:
    torch.set_num_threads(1)
    where = Path(folder)
    ranks = int(os.environ.get("WORLD_SIZE", 1))
    grow = BatchRule(share=4.0, most=4 * BATCH) if grows else None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        noise, logged, model = {"hf": hugging_face, "lightning": lightning}[which](where, ranks, grow)
    rank = dist.get_rank() if dist.is_initialized() else 0
    told = {
        "history": {step: [m.num_examples, m.sum_sq_norms, m.sq_norm_sum] for step, m in noise.history.items()},
        "logged": [entry["batchscope/batch_size"] for entry in logged],
        "lost": [str(n) for n in noise.notes if "not observed" in n.reason or "not recorded" in n.reason],
        "said": [str(w.message) for w in caught if issubclass(w.category, (BatchSizeWarning, BatchSizeHint))],
        "weights": sum(float(p.detach().double().square().sum()) for p in model.parameters()),
    }
    (where / f"rank{rank}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
