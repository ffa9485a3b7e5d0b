"""The module of the family `gpt`, and the layers it is made of."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Radford et al. 2019: N(0, 0.02²), and the layers that write into the residual stream divided by the square root of
# their number, two a block.
STD = 0.02


class CausalSelfAttention(nn.Module):
    """Every token attends to itself and those before it. heads: how many, and units of each."""

    def __init__(self, width: int, heads: tuple[int, int]) -> None:
        super().__init__()
        self.heads, self.units = heads
        self.qkv = nn.Linear(width, 3 * self.heads * self.units)
        self.out = nn.Linear(self.heads * self.units, width)

    def forward(self, x: Tensor) -> Tensor:
        """x: [N, T, width]; so is the result."""
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, self.units)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class TransformerBlock(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)). hidden: units between the layers of the mlp."""

    def __init__(self, width: int, hidden: int, heads: tuple[int, int]) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), CausalSelfAttention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        """x: [N, T, width]; so is the result."""
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]


class GPT(nn.Module):
    """Token numbers [N, T], T up to `length`, to logits [N, T, num_tokens]; initialised as GPT-2 is."""

    def __init__(
        self, depth: int, width: int, hidden: int, heads: tuple[int, int], length: int, num_tokens: int
    ) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(num_tokens, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList(TransformerBlock(width, hidden, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1:
                writes = name.endswith(("attention.out.weight", "mlp.2.weight"))
                nn.init.normal_(parameter, std=STD / math.sqrt(2 * depth) if writes else STD)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens: [N, T] whole numbers; logits [N, T, num_tokens]."""
        x = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1], device=tokens.device))
        for block in self.blocks:
            x = block(x)
        return F.linear(self.norm(x), self.tokens.weight)
