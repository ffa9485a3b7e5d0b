"""The user's own code that tests of studies use: a ResNet, a transformer, data, losses, and what goes wrong in them."""

import contextlib
import sys

from batchscope import importing
from batchscope.architectures import architecture, factory

MODELS = '''
import torch
from torch import nn
from torch.nn import functional as F

from own_layers import Residual


def resnet(depth, width, input_shape, d_out):
    """Residual blocks of convolutions with BatchNorm."""
    blocks = (Residual(nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()))
              for _ in range(depth))
    return nn.Sequential(nn.Conv2d(input_shape[0], width, 3, padding=1), *blocks, nn.AdaptiveAvgPool2d(1),
                         nn.Flatten(), nn.Linear(width, d_out))


class Transformer(nn.Module):
    """Rows of an image as tokens; heads of 4 units, so that widths are multiples of 4; with dropout."""

    def __init__(self, depth, width, input_shape, d_out):
        super().__init__()
        rows, self.row = input_shape[-2:]
        self.embed = nn.Linear(self.row, width)
        self.position = nn.Parameter(0.02 * torch.randn(rows, width))
        layer = nn.TransformerEncoderLayer(width, width // 4, 2 * width, dropout=0.1, batch_first=True, norm_first=True)
        if width % 4:
            raise ValueError("heads of 4 units do not divide the width")
        self.blocks = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.head = nn.Linear(width, d_out)

    def forward(self, x):
        x = self.embed(x.reshape(len(x), -1, self.row)) + self.position
        return self.head(self.blocks(x).mean(1))


def transformer(depth, width, input_shape, d_out):
    return Transformer(depth, width, input_shape, d_out)


def perceptron(depth, width, input_shape, d_out):
    sizes = [torch.Size(input_shape).numel(), *[width] * depth]
    layers = [layer for a, b in zip(sizes, sizes[1:]) for layer in (nn.Linear(a, b), nn.Tanh())]
    return nn.Sequential(nn.Flatten(), *layers, nn.Linear(sizes[-1], d_out))


def by_position(layers, units, shape, classes):  # other names for the four arguments
    return perceptron(layers, units, shape, classes)


def bigram(depth, width, input_shape, d_out):
    return nn.Sequential(nn.Embedding(64, width), nn.Linear(width, d_out))


def smooth(outputs, targets):
    return F.cross_entropy(outputs, targets, reduction="none", label_smoothing=0.1)


def top2(outputs, targets):
    return (outputs.topk(2).indices == targets[:, None]).any(1).float()


def mean_loss(outputs, targets):
    return F.cross_entropy(outputs, targets)


calls = []


def wavering(depth, width, input_shape, d_out):
    calls.append(1)
    return perceptron(depth, width + len(calls) % 2, input_shape, d_out)


def no_module(depth, width, input_shape, d_out):
    return "a net"


def twisted(depth, width, input_shape, d_out):
    return perceptron(depth, width, input_shape, d_out + 1)


def one_row(depth, width, input_shape, d_out):
    return nn.Sequential(perceptron(depth, width, input_shape, d_out), nn.Flatten(0))


def constant(depth, width, input_shape, d_out):
    return perceptron(depth, 3, input_shape, d_out)


def broken(depth, width, input_shape, d_out):
    raise RuntimeError("no such net")


def frozen(depth, width, input_shape, d_out):
    net = perceptron(depth, width, input_shape, d_out)
    net[1].weight.requires_grad = False
    return net


class Late(nn.Sequential):
    def forward(self, x):
        if not x.is_meta and self.training:
            raise RuntimeError("only on real numbers")
        return super().forward(x)


def late(depth, width, input_shape, d_out):
    return Late(perceptron(depth, width, input_shape, d_out))


number = 7
'''
LAYERS = """
from torch import nn


class Residual(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return x + self.inner(x)
"""
DATA = """
import torch


def make(seed, size=48):
    draw = torch.Generator().manual_seed(seed)
    inputs = torch.randn(size, 2, 5, 7, generator=draw)
    labels = (inputs[:, 0].sum((1, 2)) > 0).long()
    return {"X": inputs, "y": labels, "X_test": inputs[:8], "y_test": labels[:8]}


def words(seed):
    tokens = torch.randint(0, 11, (23, 6), generator=torch.Generator().manual_seed(seed))
    return tokens, tokens.flip(1)


def scalar():
    return 3


def fails(colour="blue"):
    raise KeyError(colour)
"""
FILES = {"own_models.py": MODELS, "own_layers.py": LAYERS, "own_data.py": DATA}


def write(folder):
    """Put the modules into a folder."""
    for name, text in FILES.items():
        (folder / name).write_text(text)


@contextlib.contextmanager
def in_folder(folder, monkeypatch):
    """The folder is the current one, and no module of own code has been imported before or stays after."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(importing, "_TOLD", [])
    forget()
    yield folder
    forget()


def forget():
    """As if no module of own code had been imported."""
    for name in [name for name in sys.modules if name.startswith(("own_", "lab"))]:
        del sys.modules[name]
    factory._counted.cache_clear()
    architecture._parameters_of.cache_clear()
