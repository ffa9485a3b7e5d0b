"""The models of `benchmarks.gradients` and `benchmarks.observe`: of torch.nn layers, so that every peer has a chance,
and a GPT-2 of Hugging Face as people train it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Row:
    """One row of the table. data: -> (inputs, targets). loss: (outputs, targets) -> per-example losses [N]."""

    name: str
    title: str
    build: Callable[[], nn.Module]
    data: Callable[[], tuple[Tensor, Tensor]]
    loss: Callable[[Any, Tensor], Tensor]


def class_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs, targets, reduction="none")


def token_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Summed cross-entropy per sequence."""
    return F.cross_entropy(logits.transpose(1, 2), targets, reduction="none").sum(1)


def images(*shape: int) -> Callable[[], tuple[Tensor, Tensor]]:
    def make() -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(1)
        return torch.randn(shape, generator=generator), torch.randint(0, 10, shape[:1], generator=generator)

    return make


def tokens(n: int, length: int, vocabulary: int) -> Callable[[], tuple[Tensor, Tensor]]:
    def make() -> tuple[Tensor, Tensor]:
        ids = torch.randint(0, vocabulary, (n, length + 1), generator=torch.Generator().manual_seed(1))
        return ids[:, :-1].contiguous(), ids[:, 1:].contiguous()

    return make


def fully_connected() -> nn.Module:
    sizes = (784, *(17,) * 10, 10)
    layers = [layer for a, b in itertools.pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def lenet() -> nn.Module:
    """LeNet 20-50-500."""
    return nn.Sequential(
        nn.Conv2d(1, 20, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(20, 50, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10),
    )  # fmt: skip


class BasicBlock(nn.Module):
    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
        self.norm1, self.norm2 = nn.GroupNorm(32, c_out), nn.GroupNorm(32, c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False)
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()
        self.shortcut = nn.Sequential()
        if stride != 1 or c_in != c_out:
            self.shortcut = nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.GroupNorm(32, c_out))

    def forward(self, x: Tensor) -> Tensor:
        out = self.norm2(self.conv2(self.relu1(self.norm1(self.conv1(x)))))
        return self.relu2(out + self.shortcut(x))


def resnet18() -> nn.Module:
    """The 32 x 32 ResNet-18 with GroupNorm(32) in place of BatchNorm; 11.2 M parameters."""
    blocks: list[nn.Module] = []
    c_in = 64
    for stage, width in enumerate((64, 128, 256, 512)):
        for block in range(2):
            blocks.append(BasicBlock(c_in, width, 2 if stage and not block else 1))
            c_in = width
    stem = (nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.GroupNorm(32, 64), nn.ReLU())
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


class Block(nn.Module):
    def __init__(self, d: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2, self.heads = nn.LayerNorm(d), nn.LayerNorm(d), heads
        self.qkv, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.up, self.gelu, self.down = nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d)

    def forward(self, x: Tensor) -> Tensor:
        n, t, d = x.shape
        q, k, v = (part.view(n, t, self.heads, -1).transpose(1, 2) for part in self.qkv(self.norm1(x)).split(d, 2))
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).reshape(n, t, d))
        return x + self.down(self.gelu(self.up(self.norm2(x))))


class GPT(nn.Module):
    """4 layers, d = 256, 8 heads, 512 tokens, untied head; 3.5 M parameters."""

    def __init__(self, vocabulary: int = 512, length: int = 128, d: int = 256, depth: int = 4) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, d), nn.Embedding(length, d)
        self.blocks = nn.ModuleList(Block(d, 8) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(d), nn.Linear(d, vocabulary, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        places = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
        x = self.tokens(ids) + self.positions(places)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def huggingface(
    lora: Sequence[str] = (), checkpointing: bool = False, length: int = 128, d: int = 256, heads: int = 8
) -> Any:
    """GPT-2 of transformers, 4 layers, 512 tokens, no dropout; with LoRA of rank 8 on the layers named, or with
    activation checkpointing."""
    from transformers import GPT2Config, GPT2LMHeadModel

    off: Any = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    config: Any = GPT2Config(vocab_size=512, n_positions=length, n_embd=d, n_layer=4, n_head=heads, **off)
    model: Any = GPT2LMHeadModel(config)
    if checkpointing:
        model.gradient_checkpointing_enable()
        model.config.use_cache = False
    if lora:
        from peft import LoraConfig, get_peft_model

        adapters = LoraConfig(r=8, lora_dropout=0.0, target_modules=list(lora), fan_in_fan_out=True)
        model = get_peft_model(model, adapters)
    return model.train()


def lora_with_input_gradients() -> Any:
    """As checkpointed fine-tuning has it: the embeddings' outputs require a gradient."""
    model = huggingface(lora=("c_attn", "c_proj"))
    model.enable_input_require_grads()
    return model


def logits_loss(outputs: Any, targets: Tensor) -> Tensor:
    return token_loss(outputs.logits, targets)


ROWS = {
    row.name: row
    for row in (
        Row("fc", "FC 784-17x10-10, B=512", fully_connected, images(512, 784), class_loss),
        Row("lenet", "LeNet 20-50-500, B=128", lenet, images(128, 1, 28, 28), class_loss),
        Row("resnet16", "ResNet-18 GroupNorm 32x32, B=16", resnet18, images(16, 3, 32, 32), class_loss),
        Row("resnet64", "ResNet-18 GroupNorm 32x32, B=64", resnet18, images(64, 3, 32, 32), class_loss),
        Row("gpt", "GPT 4 layers d=256 T=128, B=16", GPT, tokens(16, 128, 512), token_loss),
        Row("hf", "Hugging Face GPT-2, B=16", huggingface, tokens(16, 128, 512), logits_loss),
        Row("hf-lora", "the same with LoRA", lora_with_input_gradients, tokens(16, 128, 512), logits_loss),
        Row(
            "hf-checkpointed",
            "the same with activation checkpointing",
            partial(huggingface, checkpointing=True),
            tokens(16, 128, 512),
            logits_loss,
        ),
    )
}
