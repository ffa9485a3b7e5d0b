"""Models of every kind the measurement must be right on. Sizes are distinct primes where the layer allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Apply(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Any) -> Any:
        return self.function(*inputs)


def randomise(model: nn.Module) -> nn.Module:
    """Give every parameter random values: gains of 1 and biases of 0 hide mistakes."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model


class BasicBlock(nn.Module):
    """ResNet v1 block with a given normalisation."""

    def __init__(self, c_in: int, c_out: int, stride: int, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
        self.norm1 = norm(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False)
        self.norm2 = norm(c_out)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = nn.Sequential()
        if stride != 1 or c_in != c_out:
            self.shortcut = nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride, bias=False), norm(c_out))

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.norm1(self.conv1(x)))
        out = self.norm2(self.conv2(out))
        out += self.shortcut(x)
        return self.relu(out)


class ResNet(nn.Module):
    """The CIFAR ResNet: stem, four stages, average pooling, head."""

    def __init__(
        self, widths: tuple[int, ...], blocks: int, norm: Callable[[int], nn.Module], classes: int = 10
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, widths[0], 3, 1, 1, bias=False), norm(widths[0]), nn.ReLU(inplace=True))
        layers: list[nn.Module] = []
        c_in = widths[0]
        for stage, width in enumerate(widths):
            for block in range(blocks):
                layers.append(BasicBlock(c_in, width, 2 if stage and not block else 1, norm))
                c_in = width
        self.blocks = nn.Sequential(*layers)
        self.head = nn.Linear(c_in, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


def resnet18(norm_groups: int = 32) -> ResNet:
    return ResNet((64, 128, 256, 512), 2, lambda c: nn.GroupNorm(norm_groups, c))


class Conv1D(nn.Module):
    """Hugging Face's transposed linear layer of GPT-2."""

    def __init__(self, n_out: int, n_in: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_in, n_out) * 0.02)
        self.bias = nn.Parameter(torch.zeros(n_out))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias, x.view(-1, x.size(-1)), self.weight).view(*x.shape[:-1], self.weight.shape[1])


class GPTBlock(nn.Module):
    """Pre-norm block as in Hugging Face's GPT-2: packed projection, causal attention, MLP."""

    def __init__(self, d: int, heads: int, linear: Callable[[int, int], nn.Module], bias: bool = True) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(d, bias=bias), nn.LayerNorm(d, bias=bias)
        self.c_attn, self.c_proj = linear(3 * d, d), linear(d, d)
        self.c_fc, self.mlp_proj = linear(4 * d, d), linear(d, 4 * d)
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor:
        n, t, d = x.shape
        q, k, v = (
            part.view(n, t, self.heads, -1).transpose(1, 2) for part in self.c_attn(self.ln_1(x)).split(d, dim=2)
        )
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.c_proj(attended.transpose(1, 2).contiguous().view(n, t, d))
        return x + self.mlp_proj(F.gelu(self.c_fc(self.ln_2(x)), approximate="tanh"))


class GPT(nn.Module):
    """GPT-2: token and position embeddings, blocks, final norm, head tied to the token embedding or not."""

    def __init__(
        self,
        vocabulary: int,
        length: int,
        d: int,
        heads: int,
        depth: int,
        *,
        tied: bool,
        conv1d: bool,
        bias: bool = True,
    ) -> None:
        super().__init__()

        def linear(n_out: int, n_in: int) -> nn.Module:
            return Conv1D(n_out, n_in) if conv1d else nn.Linear(n_in, n_out, bias=bias)

        self.wte, self.wpe = nn.Embedding(vocabulary, d), nn.Embedding(length, d)
        self.h = nn.ModuleList(GPTBlock(d, heads, linear, bias) for _ in range(depth))
        self.ln_f = nn.LayerNorm(d, bias=bias)
        self.lm_head = nn.Linear(d, vocabulary, bias=False)
        if tied:
            self.lm_head.weight = self.wte.weight

    def forward(self, ids: Tensor) -> Tensor:
        positions = torch.arange(ids.shape[1], device=ids.device).unsqueeze(0)
        x = self.wte(ids) + self.wpe(positions)
        for block in self.h:
            x = block(x)
        return self.lm_head(self.ln_f(x))


def token_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Summed cross-entropy per sequence, [N]."""
    return F.cross_entropy(logits.transpose(1, 2), targets, reduction="none").sum(1)


class ViT(nn.Module):
    """Class token, learned positions, nn.TransformerEncoderLayer."""

    def __init__(self, batch_first: bool = True) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 6, 3, 3)
        self.cls = nn.Parameter(torch.randn(1, 1, 6))
        self.positions = nn.Parameter(torch.randn(1, 5, 6) * 0.1)
        self.encoder = nn.TransformerEncoderLayer(6, 2, 11, 0.0, batch_first=True, norm_first=True)
        self.head = nn.Linear(6, 7)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls.expand(len(x), -1, -1), tokens], 1) + self.positions
        return self.head(self.encoder(tokens)[:, 0])


class TimeMajor(nn.Module):
    """[N, T, d] -> [T, N, d] -> layers -> last step: examples in axis 1, and folded T-major for one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(5, 7), nn.Linear(7, 3)
        self.scale = nn.Parameter(torch.randn(7))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.first(x.transpose(0, 1))) * self.scale
        t, n, d = x.shape
        return self.second(x.reshape(t * n, d)).view(t, n, -1).sum(0)


class Odd(nn.Module):
    """Parameters used without modules: einsum, slices, powers, both sides of a product, a matrix on the left."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(5, 7) * 0.3)
        self.mix = nn.Parameter(torch.randn(3, 3) * 0.3)
        self.gate = nn.Parameter(torch.rand(7) + 0.5)
        self.table = nn.Parameter(torch.randn(11, 7))

    def forward(self, x: Tensor) -> Tensor:  # [N, 3, 5]
        h = torch.einsum("ntd,dk->ntk", x, self.w) + self.table[2:5] - self.table[4]
        h = torch.tanh(self.mix @ h) ** 2 * self.gate + (1 - self.gate) / (1 + self.gate.exp())
        return (h @ self.w.t()).sum(1) + x.mean(1) @ self.w @ self.w.T


class Reused(nn.Module):
    """One Linear used three times, on different numbers of positions."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 5)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.layer(x))
        return self.layer(torch.tanh(self.layer(h)).mean(1))


class LastStep(nn.Module):
    """A recurrent layer and a head on its last output (and on its final state)."""

    def __init__(self, layer: nn.Module, size: int, first: bool) -> None:
        super().__init__()
        self.layer, self.head, self.first = layer, nn.Linear(size, 3), first

    def forward(self, x: Tensor) -> Tensor:
        out, state = self.layer(x if self.first else x.transpose(0, 1))
        hidden = state[0] if isinstance(state, tuple) else state
        return self.head(out[:, -1] if self.first else out[-1]) + hidden.sum((0, 2))[:, None]


class CellLoop(nn.Module):
    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor) -> Tensor:
        state = None
        for step in x.unbind(1):
            state = self.cell(step, state)
        return state[0] if isinstance(state, tuple) else state


class Attend(nn.Module):
    """nn.MultiheadAttention in its variants, with a causal and a padding mask."""

    def __init__(self, attention: nn.MultiheadAttention, kdim: int, cross: bool, need_weights: bool) -> None:
        super().__init__()
        self.attention, self.cross, self.need_weights, self.kdim = attention, cross, need_weights, kdim

    def forward(self, x: Tensor) -> Tensor:
        t = x.shape[1]
        q = x if self.attention.batch_first else x.transpose(0, 1)
        k = (torch.cos(q) if self.cross else q)[..., : self.kdim]
        masks: dict[str, Any] = {"attn_mask": torch.ones(t, t, dtype=torch.bool).triu(1)}
        if self.cross:
            masks["key_padding_mask"] = torch.stack([torch.arange(t) >= t - 1] * len(x))
        out, weights = self.attention(q, k, k, need_weights=self.need_weights, **masks)
        out = out if self.attention.batch_first else out.transpose(0, 1)
        return out.sum(1) + (0 if weights is None else weights.sum((1, 2))[:, None])


@dataclass
class Case:
    """name, a builder, the shape of one input (or a maximum for integer ids), number of output classes."""

    name: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    vocabulary: int = 0
    loss: Any = None
    options: dict[str, Any] | None = None
    slow_ways: bool = False  # whether a parameter is expected to need vmap or a loop

    def make(self, num_examples: int, dtype: torch.dtype = torch.float64) -> tuple[nn.Module, Any, Tensor, Tensor]:
        """(model, loss, inputs, targets)."""
        torch.manual_seed(sum(map(ord, self.name)))
        model = randomise(self.build().to(dtype))
        inputs = self.inputs(num_examples, dtype)
        if self.loss is token_loss:
            return model, token_loss, inputs, torch.randint(0, self.vocabulary, inputs.shape)
        with torch.no_grad():
            outputs = model(self.inputs(1, dtype))
        return model, squared_error, inputs, torch.randn(num_examples, *outputs.shape[1:], dtype=dtype)

    def inputs(self, num_examples: int, dtype: torch.dtype) -> Tensor:
        size = (num_examples, *self.shape)
        return torch.randint(0, self.vocabulary, size) if self.vocabulary else torch.randn(size, dtype=dtype)


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """½‖y - t‖² per example, [N]."""
    return (outputs - targets).flatten(1).square().sum(1) / 2


def conv(layer: nn.Module) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(layer, nn.Tanh(), nn.Flatten(), Apply(lambda x: x[:, :7]))


def head(layer: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(layer(), nn.Tanh(), nn.Flatten(1))


def normed(norm: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(nn.Linear(5, 5), norm(), nn.Tanh(), nn.Linear(5, 3))


def weight_normed() -> nn.Module:
    return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(5, 7)), nn.Tanh(), nn.Linear(7, 3))


def frozen_first() -> nn.Module:
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))
    model[0].weight.requires_grad_(False)
    return model


def batchnorm_eval() -> nn.Module:
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten())
    model[1].running_mean.normal_()
    model[1].running_var.uniform_(0.5, 2)
    return model.eval()


def lazy(build: Callable[..., nn.Module], *args: Any, **kwargs: Any) -> Callable[[], nn.Module]:
    return lambda: build(*args, **kwargs)


CONVOLUTIONS = [
    Case("conv1d", head(lazy(nn.Conv1d, 3, 5, 2)), (3, 7)),
    Case("conv1d-circular", head(lazy(nn.Conv1d, 3, 5, 3, padding=1, padding_mode="circular")), (3, 7)),
    Case("conv2d", head(lazy(nn.Conv2d, 3, 5, 3, padding=1)), (3, 7, 5)),
    Case("conv2d-stride", head(lazy(nn.Conv2d, 3, 5, (3, 2), stride=(2, 1), padding=(0, 1))), (3, 11, 7)),
    Case("conv2d-groups", head(lazy(nn.Conv2d, 6, 10, 3, groups=2)), (6, 7, 5)),
    Case("conv2d-groups4", head(lazy(nn.Conv2d, 4, 8, 3, groups=4, padding=2)), (4, 5, 7)),
    Case("conv2d-dilation", head(lazy(nn.Conv2d, 2, 5, 3, dilation=2, stride=2, padding=3)), (2, 11, 7)),
    Case("conv2d-same", head(lazy(nn.Conv2d, 3, 5, (2, 3), padding="same", dilation=(3, 1))), (3, 7, 5)),
    Case("conv2d-reflect", head(lazy(nn.Conv2d, 3, 5, 3, padding=1, padding_mode="reflect", bias=False)), (3, 7, 5)),
    Case("conv3d", head(lazy(nn.Conv3d, 2, 3, (2, 3, 2), padding=1, stride=(1, 2, 1))), (2, 3, 5, 3)),
    Case("transposed1d", head(lazy(nn.ConvTranspose1d, 3, 5, 3, stride=2, padding=1, output_padding=1)), (3, 7)),
    Case(
        "transposed2d",
        head(lazy(nn.ConvTranspose2d, 6, 4, 3, stride=2, padding=1, output_padding=1, groups=2, dilation=2)),
        (6, 5, 3),
    ),
    Case("transposed3d", head(lazy(nn.ConvTranspose3d, 2, 3, 2, stride=2)), (2, 3, 2, 3)),
    Case(
        "frames-folded-into-batch",
        lambda: nn.Sequential(
            Apply(lambda x: x.flatten(0, 1)), nn.Conv2d(3, 5, 3), Apply(lambda x: x.unflatten(0, (-1, 2)))
        ),
        (2, 3, 5, 7),
    ),
]

LINEAR = [
    Case("linear", lazy(nn.Linear, 5, 3), (5,)),
    Case("linear-3d", head(lazy(nn.Linear, 5, 3)), (7, 5)),
    Case("linear-4d", head(lazy(nn.Linear, 5, 3)), (7, 2, 5)),
    Case("fully-connected", lambda: nn.Sequential(nn.Linear(5, 7), nn.ReLU(inplace=True), nn.Linear(7, 3)), (5,)),
    Case("reused", Reused, (3, 5)),
    Case("frozen", frozen_first, (5,)),
    Case("time-major", TimeMajor, (3, 5)),
    Case("odd", Odd, (3, 5), slow_ways=True),
    Case("weight-norm", weight_normed, (5,)),
    Case(
        "bilinear",
        lambda: (lambda b: nn.Sequential(Apply(lambda x: (x, x.cos())), Pair(b)))(nn.Bilinear(5, 5, 3)),
        (5,),
        slow_ways=True,
    ),
    Case("prelu", lambda: nn.Sequential(nn.Linear(5, 7), nn.PReLU(7)), (5,), slow_ways=True),
]


class Pair(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, pair: tuple[Tensor, Tensor]) -> Tensor:
        return self.layer(*pair)


EMBEDDINGS = [
    Case("embedding", head(lazy(nn.Embedding, 13, 3)), (7,), vocabulary=13),
    Case("embedding-padding", head(lazy(nn.Embedding, 5, 3, padding_idx=2)), (7,), vocabulary=5),
    Case("embedding-negative-padding", head(lazy(nn.Embedding, 5, 3, padding_idx=-1)), (7,), vocabulary=5),
    Case("embedding-2d", head(lazy(nn.Embedding, 5, 3)), (7, 2), vocabulary=5),
    Case("bag-mean", head(lazy(nn.EmbeddingBag, 5, 3, padding_idx=1)), (7,), vocabulary=5),
    Case("bag-sum", head(lazy(nn.EmbeddingBag, 5, 3, mode="sum")), (7,), vocabulary=5),
    Case("bag-max", head(lazy(nn.EmbeddingBag, 5, 3, mode="max")), (7,), vocabulary=5, slow_ways=True),
]

NORMS = [
    Case("layer-norm", normed(lazy(nn.LayerNorm, 5)), (3, 5)),
    Case("layer-norm-2-axes", normed(lazy(nn.LayerNorm, (3, 5))), (2, 3, 5)),
    Case("layer-norm-no-bias", normed(lazy(nn.LayerNorm, 5, bias=False)), (3, 5)),
    Case("layer-norm-large", lambda: nn.Sequential(nn.LayerNorm(67), nn.Linear(67, 3)), (67, 67)),
    Case("rms-norm", normed(lazy(nn.RMSNorm, 5)), (3, 5)),
    Case("group-norm", head(lambda: nn.Sequential(nn.Conv2d(2, 6, 3), nn.GroupNorm(3, 6))), (2, 5, 7)),
    Case("group-norm-vectors", lambda: nn.Sequential(nn.Linear(5, 6), nn.GroupNorm(2, 6)), (5,)),
    Case(
        "instance-norm", head(lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.InstanceNorm2d(3, affine=True))), (2, 5, 7)
    ),
    Case("batch-norm-eval", batchnorm_eval, (2, 5, 7)),
]

RECURRENT = [
    Case("lstm", lazy(lambda: LastStep(nn.LSTM(5, 7, batch_first=True), 7, True)), (3, 5)),
    Case("lstm-2-bi", lambda: LastStep(nn.LSTM(5, 3, 2, bidirectional=True), 6, False), (3, 5)),
    Case("lstm-projected", lambda: LastStep(nn.LSTM(5, 7, proj_size=2, bias=False), 2, False), (3, 5)),
    Case("gru", lambda: LastStep(nn.GRU(5, 7, 2, batch_first=True), 7, True), (3, 5)),
    Case("rnn", lambda: LastStep(nn.RNN(5, 7), 7, False), (3, 5)),
    Case("rnn-relu", lambda: LastStep(nn.RNN(5, 7, nonlinearity="relu", bidirectional=True), 14, False), (3, 5)),
    Case("lstm-cell", lambda: CellLoop(nn.LSTMCell(5, 3)), (3, 5)),
    Case("gru-cell", lambda: CellLoop(nn.GRUCell(5, 3)), (3, 5)),
    Case("rnn-cell", lambda: CellLoop(nn.RNNCell(5, 3)), (3, 5)),
]

ATTENTION = [
    Case("attention-packed", lambda: Attend(nn.MultiheadAttention(6, 2, batch_first=True), 6, False, False), (5, 6)),
    Case("attention-weights", lambda: Attend(nn.MultiheadAttention(6, 3), 6, False, True), (5, 6)),
    Case("attention-cross", lambda: Attend(nn.MultiheadAttention(6, 2, batch_first=True), 6, True, False), (5, 6)),
    Case(
        "attention-separate",
        lambda: Attend(nn.MultiheadAttention(6, 2, kdim=5, vdim=5, batch_first=True), 5, True, False),
        (7, 6),
    ),
    Case(
        "attention-bias-kv",
        lambda: Attend(nn.MultiheadAttention(6, 2, add_bias_kv=True), 6, False, False),
        (5, 6),
        slow_ways=True,
    ),
    Case("vit", ViT, (3, 6, 6)),
    Case("gpt-huggingface", lambda: GPT(13, 7, 6, 2, 2, tied=True, conv1d=True), (5,), vocabulary=13, loss=token_loss),
    Case(
        "gpt", lambda: GPT(13, 7, 6, 3, 1, tied=False, conv1d=False, bias=False), (5,), vocabulary=13, loss=token_loss
    ),
]

RESNETS = [
    Case("resnet-groupnorm", lambda: ResNet((4, 6), 1, lambda c: nn.GroupNorm(2, c), 5), (3, 7, 5)),
    Case("resnet-batchnorm-eval", lambda: ResNet((4, 6), 1, nn.BatchNorm2d, 5).eval(), (3, 7, 5)),
]

CASES = [*LINEAR, *CONVOLUTIONS, *EMBEDDINGS, *NORMS, *RECURRENT, *ATTENTION, *RESNETS]
