"""Parts of a network: moments by kind of layer and by block, from names and class names alone, no torch.

Every parameter has one kind and one block, so both are partitions: S1 and Q of the parts add up to the total's. (B_S
does not add up; that of the whole is the mean of the parts' weighted by Q.)

*Kind* is decided by the module that owns the parameter, by the names around it, and by its place:

    stem convolution    the convolution that is a network's first layer
    convolution         every other one
    shortcut            all in a module named downsample, shortcut, skip or proj_shortcut, its normalisation too
    normalisation       BatchNorm, GroupNorm, LayerNorm, RMSNorm, ...
    embedding           tables that are looked up or added: tokens, positions, class tokens
    attention           all linear layers within a module of attention
    recurrent           RNN, LSTM, GRU and their cells
    fully connected     every other linear layer
    head                the linear layer that is a network's last layer
    other               the rest

First and last do not count normalisations and embeddings. A tied table has the name it is first known by.

*Block* is a numbered module of two layers or more, normalisations not counted, that holds no other such module: a
residual block ``layer1.0``, a transformer's layer ``h.3``. What comes before the first block is the ``stem``; a layer
elsewhere, or in a network without blocks, is a block of its own, under its own name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from batchscope.gradients.estimands import Moments, ratio

STEM, CONVOLUTION, SHORTCUT, NORMALISATION = "stem convolution", "convolution", "shortcut", "normalisation"
EMBEDDING, ATTENTION, RECURRENT = "embedding", "attention", "recurrent"
FULLY_CONNECTED, HEAD, OTHER = "fully connected", "head", "other"
KINDS = (
    STEM, CONVOLUTION, SHORTCUT, NORMALISATION, EMBEDDING, ATTENTION, RECURRENT, FULLY_CONNECTED, HEAD, OTHER
)  # fmt: skip

# Class names, tried in this order; Hugging Face's Conv1D is a linear layer.
_CLASSES = {
    NORMALISATION: re.compile(r"Norm(ali[sz]ation)?(\dd)?$"),
    EMBEDDING: re.compile(r"Embedding(Bag)?s?$"),
    FULLY_CONNECTED: re.compile(r"Linear$|^Conv1D$|^Bilinear$"),
    CONVOLUTION: re.compile(r"^(Lazy)?Conv(Transpose)?[123]d$"),
    RECURRENT: re.compile(r"^(RNN|LSTM|GRU)(Base|Cell|CellBase)?$|^RNNCellBase$"),
}
_SHORTCUT_NAME = re.compile(r"^(downsample|(proj_)?shortcut|skip(_connection)?)\d*$")
_ATTENTION_NAME = re.compile(r"(attn|attention)\d*$")
_ATTENTION_CLASS = re.compile(r"Attention\d*$")
_TABLE_NAME = re.compile(r"(^|_)(pos|positions?|positional|embed|embedding|embeddings|cls|class|token|tokens)(_|$)")

Key = TypeVar("Key")


@dataclass(frozen=True)
class Place:
    """Where a parameter is. module: that owns it. size: numbers in it. kind: one of KINDS. block: its name."""

    module: str
    size: int
    kind: str
    block: str


@dataclass(frozen=True)
class Part(Moments):
    """Moments over some of the parameters of a model.

    parameters: their names. num_parameters: numbers in them. share: of the total's S1, in [0, 1]; NaN when that is 0.
    """

    parameters: tuple[str, ...]
    num_parameters: int
    share: float


def places(shapes: Mapping[str, tuple[int, ...]], classes: Mapping[str, Sequence[str]]) -> dict[str, Place]:
    """Parameter name -> Place, in the order given.

    shapes: parameter name -> shape, in the order in which the network has them.
    classes: module name -> names of its class and of the classes it derives from, nearest first; "" is the network.
    """
    owners = {name: _owner(name) for name in shapes}
    kinds = {name: _kind(name, owners[name], classes) for name in shapes}
    blocks = _blocks(owners, {name for name in shapes if kinds[name] != NORMALISATION})
    outside = {name for name, block in blocks.items() if block is None}
    stem, head = _ends(kinds, owners, outside)
    kinds |= {name: STEM for name, owner in owners.items() if owner == stem}
    kinds |= {name: HEAD for name, owner in owners.items() if owner == head}
    names = _block_names(blocks, owners)
    return {
        name: Place(owners[name], math.prod(shape), _with_shortcut(kinds[name], owners[name]), names[name])
        for name, shape in shapes.items()
    }


def parts(
    by_parameter: Mapping[str, Moments], where: Mapping[str, Place], key: Callable[[Place], Key]
) -> dict[Key, Part]:
    """Group -> Part, `key` naming the group of each parameter; groups in the order in which the network begins them.

    by_parameter: moments of the measured parameters, `where` their places: `report.by_parameter` and `report.places`.
    """
    groups: dict[Key, list[str]] = {}
    for name, place in where.items():
        groups.setdefault(key(place), []).append(name)
    total = sum(moments.sum_sq_norms for moments in by_parameter.values())
    return {group: _part(names, by_parameter, where, total) for group, names in groups.items()}


def by_kind(by_parameter: Mapping[str, Moments], where: Mapping[str, Place]) -> dict[str, Part]:
    """Kind -> Part, in the order of KINDS."""
    found = parts(by_parameter, where, lambda place: place.kind)
    return {kind: found[kind] for kind in KINDS if kind in found}


def by_block(by_parameter: Mapping[str, Moments], where: Mapping[str, Place]) -> dict[str, Part]:
    """Block -> Part, from the inputs to the outputs."""
    return parts(by_parameter, where, lambda place: place.block)


def by_block_and_kind(by_parameter: Mapping[str, Moments], where: Mapping[str, Place]) -> dict[tuple[str, str], Part]:
    """(block, kind) -> Part, from the inputs to the outputs."""
    return parts(by_parameter, where, lambda place: (place.block, place.kind))


def _part(names: list[str], by_parameter: Mapping[str, Moments], where: Mapping[str, Place], total: float) -> Part:
    moments = [by_parameter[name] for name in names]
    added = Moments.add(moments[0].num_examples, moments)
    size = sum(where[name].size for name in names)
    share = ratio(added.sum_sq_norms, total)
    return Part(added.num_examples, added.sum_sq_norms, added.sq_norm_sum, tuple(names), size, share)


def _owner(name: str) -> str:
    """The module a parameter belongs to, for a parametrised weight the layer it is the weight of."""
    return name.rpartition(".")[0].partition(".parametrizations")[0]


def _kind(name: str, owner: str, classes: Mapping[str, Sequence[str]]) -> str:
    """The kind by classes and names, whatever the place."""
    own = next((kind for kind, pattern in _CLASSES.items() if any(map(pattern.search, classes[owner]))), None)
    if own in {NORMALISATION, EMBEDDING}:
        return own
    if any(_is_attention(module, classes) for module in _enclosing(owner)):
        return ATTENTION
    if own is None and _TABLE_NAME.search(name.rpartition(".")[2]):
        return EMBEDDING
    return own or OTHER


def _is_attention(module: str, classes: Mapping[str, Sequence[str]]) -> bool:
    by_name = _ATTENTION_NAME.search(module.rpartition(".")[2])
    return bool(by_name) or any(map(_ATTENTION_CLASS.search, classes[module]))


def _with_shortcut(kind: str, owner: str) -> str:
    return SHORTCUT if any(map(_SHORTCUT_NAME.match, owner.split("."))) else kind


def _ends(kinds: Mapping[str, str], owners: Mapping[str, str], outside: set[str]) -> tuple[str | None, str | None]:
    """The modules that are stem convolution and head, if there are such."""
    layers = [name for name in kinds if kinds[name] not in {NORMALISATION, EMBEDDING, OTHER}]
    if not layers:
        return None, None
    first, last = layers[0], layers[-1]
    return (
        owners[first] if kinds[first] == CONVOLUTION and first in outside else None,
        owners[last] if kinds[last] == FULLY_CONNECTED and last in outside else None,
    )


def _blocks(owners: Mapping[str, str], layers: set[str]) -> dict[str, str | None]:
    """Parameter -> the block it is in, None outside of all. layers: parameters that count as layers."""
    held: dict[str, set[str]] = {}
    for name in layers:
        for module in _enclosing(owners[name]):
            if module.rpartition(".")[2].isdigit():
                held.setdefault(module, set()).add(owners[name])
    full = {module for module, inside in held.items() if len(inside) > 1}
    blocks = full - {outer for module in full for outer in _enclosing(module) if outer != module}
    return {name: next((m for m in _enclosing(owner) if m in blocks), None) for name, owner in owners.items()}


def _block_names(blocks: Mapping[str, str | None], owners: Mapping[str, str]) -> dict[str, str]:
    """What is before the first block is the stem; other layers outside of blocks have their own names."""
    order = list(blocks)
    first = next((position for position, name in enumerate(order) if blocks[name] is not None), 0)
    return {name: "stem" if i < first else blocks[name] or owners[name] or name for i, name in enumerate(order)}


def _enclosing(module: str) -> list[str]:
    """The module and all around it but the network itself: a.b.c, a.b, a."""
    words = module.split(".") if module else []
    return [".".join(words[:count]) for count in range(len(words), 0, -1)]
