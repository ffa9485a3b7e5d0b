"""`Architecture`: what a network is, in numbers; `Family`: a way to draw one. torch is needed only to build it.

A family is one file: a subclass of `Family`, registered by ``FAMILIES["name"] = ...`` and imported by the package. One
of a user's own is named as ``package.module:name`` and registered nowhere: a `Family`, or a function that makes
networks (factory.py).
"""

from __future__ import annotations

import abc
import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from batchscope.architectures.budget import nearest_width
from batchscope.architectures.parameter import Parameter
from batchscope.errors import InputError, choose, shown
from batchscope.option import canonical, check_options, identity, offer
from batchscope.options import OWN_INITIAL_WEIGHTS, OWN_NETWORKS, ArchitectureOptions

if TYPE_CHECKING:
    from torch import nn

# Far beyond what can be trained. Planning looks at every layer; the square of a width, times such a depth, fits the
# store's integers.
DEEPEST, WIDEST = 10_000, 10_000_000

__all__ = ["ACTIVATIONS", "FAMILIES", "NORMS", "Architecture", "Family", "family_named"]

ACTIVATIONS = ("relu", "tanh", "softsign", "arctan", "linear")
NORMS = ("batch_norm", "group_norm")
offer("activation", ACTIVATIONS)
offer("norm", NORMS)


class Family(abc.ABC):
    """A way to draw a network of any (depth, width); stateless, one instance per name in FAMILIES.

    Only `module` must be defined: without more, its parameters are counted on the built network and the width for a
    budget is found by bisection. The library's families say both in closed form, so that planning needs no torch.

    standard: (depth, width) of the network the family is named after.
    depth_means, width_means: what the two numbers count, for tables.
    budget_counts: "weights" (the paper's fully-connected nets) or "parameters" (its convolutional ones: 431 080 is
        LeNet with its biases).
    activations, norms: names to choose from, the default first; one name is no choice.
    default_filters: `Architecture.filters` unless given; 0 where there is none to choose.
    takes_images: whether examples must be images (channels, height, width); allows image augmentation, memory formats
        and bfloat16.
    stacked: whether its networks are linear layers with one activation, all hidden ones of one width, named as in
        `fully_connected`: cohorts then train as stacked tensors without autograd, else as modules.
    takes_tokens: whether examples are token numbers [T], and outputs are [N, T, d_out].
    draws_weights: whether its networks draw their initial weights themselves unless a study says otherwise.
    source: hash of the code, of a user's function.
    identity: joins, and where names agree replaces, the architecture's fields in the identities of trials. A family of
        your own sets {"version": "2"} here when the same depth and width begin to mean another network.
    """

    standard: ClassVar[tuple[int, int]] = (2, 16)
    depth_means: ClassVar[str] = "hidden layers"
    width_means: ClassVar[str] = "units"
    budget_counts: ClassVar[str] = "parameters"
    activations: ClassVar[tuple[str, ...]] = ("relu",)
    norms: ClassVar[tuple[str, ...]] = ("",)
    default_filters: ClassVar[int] = 0
    takes_images: ClassVar[bool] = False
    takes_tokens: ClassVar[bool] = False
    draws_weights: ClassVar[bool] = False
    source: str = ""
    stacked: ClassVar[bool] = False
    identity: ClassVar[Mapping[str, str]] = {}

    @property
    def choices(self) -> dict[str, tuple[str, ...]]:
        """Option -> its names to choose from, the default first."""
        return {"activation": self.activations, "norm": self.norms}

    def traits(self, norm: str = "") -> frozenset[str]:
        """What networks with this normalisation are, in the words by which options say which families they are for."""
        found = {
            "fully-connected nets": self.stacked,
            "families of images": self.takes_images,
            "nets with filters to choose": self.default_filters > 0,
            "nets with BatchNorm": (norm or self.norms[0]) == "batch_norm",
            OWN_NETWORKS: self.source != "",
            OWN_INITIAL_WEIGHTS: self.draws_weights,
        }
        return frozenset(trait for trait, true in found.items() if true)

    @abc.abstractmethod
    def module(self, net: Architecture) -> nn.Module:
        """Build it: a module from [N, *input_shape] to [N, d_out]. Its initial weights are replaced by `build`."""

    def check(self, net: Architecture) -> None:
        """Raise InputError for a network that cannot exist."""
        del net

    def parameters(self, net: Architecture) -> dict[str, Parameter]:
        """Every trained tensor, in the order and with the names of the module."""
        from batchscope.architectures.counting import count_tensors

        shapes = net.input_shape, self.output_shape(net)
        return count_tensors(lambda: self.module(net), *shapes, net.family, self.takes_tokens)

    def multiply_adds(self, net: Architecture) -> int:
        """Multiplications by a weight in the forward pass of one example."""
        return sum(p.size * p.positions for p in _parameters_of(net).values() if p.is_weight)

    def output_shape(self, net: Architecture) -> tuple[int, ...]:
        """Shape of the outputs for one example."""
        return (net.d_out,)

    def solve_width(self, net: Architecture, budget: int) -> int:
        """The width that brings `net`, whose own width is ignored, nearest to the budget."""
        return nearest_width(budget, lambda width: _counted(replace(net, width=width), self.budget_counts))

    def label(self, net: Architecture) -> str:
        """A short name, unique within a study."""
        name = net.family.rpartition(":")[2]
        variant = "".join(f" {word}" for word in (net.activation, net.norm) if word)
        return f"{name} {net.d_in}-{hidden_label(net.depth, net.width)}-{net.d_out}{variant}"


FAMILIES: dict[str, Family] = {}
# What finds a family of the user's own by (name, source); factory.py registers it.
OWN: list[Callable[[str, str], Family]] = []


def family_named(name: str, source: str = "") -> Family:
    """Return the family of this name: one of FAMILIES, or ``package.module:name`` of the user's own.

    The user's own is a subclass of `Family`, an instance of one, or a function of (depth, width, input_shape, d_out)
    that returns an nn.Module. source: the hash of that function's code, where it is known: then nothing is imported
    before a network is built, which fails if the code is another.
    Raises InputError for an unknown name, a module that cannot be imported, a name it does not have, and an object that
    is neither.
    """
    if ":" in name:
        return OWN[-1](name, source)
    try:
        return FAMILIES[choose("family", name, FAMILIES)]
    except InputError as error:
        raise InputError(f"{error} One of your own is named package.module:name.") from None


def hidden_label(depth: int, width: int) -> str:
    """``17x10`` for ten hidden layers of 17 units, ``17`` for one."""
    return f"{width}" if depth == 1 else f"{width}x{depth}"


def _counted(net: Architecture, counts: str) -> int:
    return net.num_weights if counts == "weights" else net.num_parameters


@dataclass(frozen=True)
class Architecture(ArchitectureOptions):
    """A network of a family, at one depth and width.

    family: name in FAMILIES, or package.module:name. input_shape: shape of one example, such as (784,) or (1, 28, 28).
    d_out: outputs. depth: hidden layers L, each of `width` units K (so L + 1 weight matrices); for the families
        ``*_blocks`` residual blocks in the first chunk, and filters of the first chunk.
    By name alone, the fields of `ArchitectureOptions`.
    activation: one of the family's activations, its first if left out. bias: whether every layer of a fully-connected
        net adds one (Keras' default, and ours).
    norm: "batch_norm" or "group_norm" in residual nets, empty elsewhere; left empty there it is batch_norm.
    filters: of the first chunk of ``resnet18_head``, 64 unless given; 0 elsewhere.
    version, source: of a network that a user's function makes: a word of the user's, and the hash of the code.

    >>> print(Architecture("fully_connected", (1, 28, 28), 10, depth=10, width=17))
    784-17x10-10 relu (16 099 weights)
    >>> print(Architecture("lenet", (1, 28, 28), 10, depth=1, width=500))
    lenet 20-50-500-10 relu (431 080 parameters)
    """

    family: str
    input_shape: tuple[int, ...]
    d_out: int
    depth: int
    width: int

    def __post_init__(self) -> None:
        kind = self.kind
        check_options(self)
        for name, number in (("d_in", self.d_in), ("d_out", self.d_out), ("depth", self.depth), ("width", self.width)):
            if number < 1:
                raise InputError(f"{name} = {shown(number)} in an architecture; expected at least 1")
        for name, number, most in (("depth", self.depth, DEEPEST), ("width", self.width, WIDEST)):
            if number > most:
                raise InputError(f"{name} = {shown(number)} in an architecture; expected at most {most}")
        for name, names in kind.choices.items():
            object.__setattr__(self, name, getattr(self, name) or names[0])
            check_choice(name, getattr(self, name), names, self.family)
        object.__setattr__(self, "filters", self.filters or kind.default_filters)
        if self.filters and not kind.default_filters:
            raise InputError(
                f"filters = {self.filters} in family {self.family!r}, which has none to choose: leave it out"
            )
        object.__setattr__(self, "source", kind.source)
        kind.check(self)

    @classmethod
    def within_budget(
        cls,
        family: str,
        input_shape: tuple[int, ...],
        d_out: int,
        depth: int,
        budget: int,
        **options: Any,
    ) -> Architecture:
        """The network of this depth nearest to `budget`: weights if fully connected, all parameters otherwise.

        options: those of `ArchitectureOptions`.
        """
        draft = cls(family, input_shape, d_out, depth, 1, **options)
        return replace(draft, width=draft.kind.solve_width(draft, budget))

    @property
    def kind(self) -> Family:
        """The family itself."""
        return family_named(self.family, self.source)

    @functools.cached_property
    def identity(self) -> str:
        """Its part in the identities of trials, as canonical JSON."""
        return canonical(identity(self) | dict(self.kind.identity))

    @property
    def d_in(self) -> int:
        """Numbers in one example."""
        return math.prod(self.input_shape)

    @property
    def num_weights(self) -> int:
        """Weights without biases and gains: what the paper's budget of fully-connected nets counts."""
        return sum(parameter.size for parameter in self._parameters.values() if parameter.is_weight)

    @property
    def num_parameters(self) -> int:
        """Everything that is trained."""
        return sum(parameter.size for parameter in self._parameters.values())

    @functools.cached_property
    def multiply_adds(self) -> int:
        """Multiplications by a weight in the forward pass of one example."""
        return self.kind.multiply_adds(self)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the outputs for one example: (d_out,), or (T, d_out) where every token has its own."""
        return self.kind.output_shape(self)

    @functools.cached_property
    def num_layers(self) -> int:
        """Layers with weights."""
        return sum(parameter.is_weight for parameter in self._parameters.values())

    @functools.cached_property
    def num_units(self) -> int:
        """Activations of one example, over all layers."""
        return sum(p.shape[0] * p.positions for p in self._parameters.values() if p.is_weight)

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        """(d_in, K, ..., K, d_out) of a fully-connected net: the widths between the weights, as theory/ takes them."""
        return (self.d_in, *(self.width,) * self.depth, self.d_out)

    @property
    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape of every parameter, in the order and with the names of the built module."""
        return {name: parameter.shape for name, parameter in self._parameters.items()}

    @property
    def _parameters(self) -> dict[str, Parameter]:
        return _parameters_of(self)

    @property
    def label(self) -> str:
        """A short name, unique within a study: ``784-17x10-10 relu``."""
        return self.kind.label(self)

    def __str__(self) -> str:
        counts = self.kind.budget_counts
        return f"{self.label} ({_counted(self, counts):,} {counts})".replace(",", " ")


@functools.lru_cache(maxsize=256)
def _parameters_of(net: Architecture) -> dict[str, Parameter]:
    """Kept, for families that count them on a built network."""
    return net.kind.parameters(net)


def check_choice(kind: str, name: str, names: tuple[str, ...], family: str) -> None:
    """Raise InputError unless `name` is one of the family's names of this kind."""
    if name in names:
        return
    expected = " or ".join(names) if len(names) > 1 else f"{names[0] or 'none'}: leave it out"
    raise InputError(f"{kind} {name!r} in family {family!r}; expected {expected}")
