"""Networks named on the command line: a family of the library, or a callable of the user's own."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from batchscope.architectures import INITIALISATIONS, Architecture
from batchscope.architectures.architecture import ACTIVATIONS, FAMILIES, NORMS
from batchscope.architectures.initialisation import AS_MADE
from batchscope.data import Dataset
from batchscope.errors import InputError, RunError, closest
from batchscope.importing import import_object

if TYPE_CHECKING:
    from torch import nn

# Names of standard networks -> their families; every family's name stands for its standard network too.
ALIASES = {"resnet18": "resnet18_blocks", "resnet34": "resnet34_blocks"}
OF_FAMILIES = ("depth", "width", "filters", "budget", "norm", "activation", "initialisation")


@dataclass(frozen=True)
class Model:
    """A network with its weights.

    architecture: None for a user's own. about: the network in words, and where its weights are from.
    """

    module: nn.Module
    architecture: Architecture | None
    about: str


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options that say which network. Those of families default to the family's standard network."""
    names = ", ".join((*FAMILIES, *ALIASES))
    parser.add_argument("--model", required=True, help=f"{names}, or module:callable returning a module")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="a state_dict saved by torch.save")
    family = parser.add_argument_group(
        "options of families", "left out, they are those of the family's standard network"
    )
    family.add_argument("--depth", type=int, help="hidden layers; for *_blocks residual blocks in the first chunk")
    shape = family.add_mutually_exclusive_group()
    shape.add_argument("--width", type=int, help="units per hidden layer; for *_blocks filters of the first chunk")
    shape.add_argument("--budget", type=int, help="instead of a width: number of weights, or of all parameters")
    family.add_argument("--filters", type=int, help="filters of the first chunk of a residual net")
    family.add_argument("--norm", choices=NORMS, help="of a residual net; batch_norm if left out")
    family.add_argument("--activation", choices=ACTIVATIONS, help="the first that the family has, relu, if left out")
    family.add_argument(
        "--initialisation", choices=tuple(INITIALISATIONS), help="glorot_uniform, for gpt its own, if left out"
    )


def make(arguments: argparse.Namespace, dataset: Dataset) -> Model:
    """Build the network for this data, with the weights of --checkpoint if there is one; on the CPU.

    Raises InputError for options that do not go together, or a checkpoint that does not fit.
    """
    model = _own(arguments) if ":" in arguments.model else _of_family(arguments, dataset)
    if arguments.checkpoint is None:
        return model
    _load_checkpoint(model.module, arguments.checkpoint)
    name = str(model.architecture or arguments.model)
    return Model(model.module, model.architecture, f"{name}, weights of {arguments.checkpoint.name}")


def _of_family(arguments: argparse.Namespace, dataset: Dataset) -> Model:
    import torch

    from batchscope.architectures import build

    architecture = _architecture(arguments, dataset)
    initialisation = arguments.initialisation or (AS_MADE if architecture.kind.draws_weights else "glorot_uniform")
    module = build(architecture, initialisation, arguments.seed, getattr(torch, arguments.dtype))
    return Model(module, architecture, f"{architecture}, initial weights {initialisation}, seed {arguments.seed}")


def _architecture(arguments: argparse.Namespace, dataset: Dataset) -> Architecture:
    name = ALIASES.get(arguments.model, arguments.model)
    if name not in FAMILIES:
        raise InputError(
            f"unknown model {name!r}: {closest(name, (*FAMILIES, *ALIASES))} "
            "A model of your own is given as module:callable."
        )
    family, filters, width = FAMILIES[name], arguments.filters, arguments.width
    if filters is not None and family.width_means.startswith("filters"):
        if width is not None or arguments.budget is not None:
            other = "--width" if width is not None else "--budget"
            raise InputError(f"--filters and {other} both say how many filters {arguments.model} has: give one of them")
        width, filters = filters, None
    if filters is not None and filters < 1:
        raise InputError(f"--filters {filters}: expected at least 1")
    depth = family.standard[0] if arguments.depth is None else arguments.depth
    about = (name, dataset.inputs.shape[1:], dataset.d_out, depth)
    chosen = {"activation": arguments.activation, "norm": arguments.norm, "filters": filters}
    options = {name: value for name, value in chosen.items() if value is not None}
    if arguments.budget is not None:
        return Architecture.within_budget(*about, arguments.budget, **options)
    return Architecture(*about, family.standard[1] if width is None else width, **options)


def _own(arguments: argparse.Namespace) -> Model:
    given = [name for name in OF_FAMILIES if getattr(arguments, name) is not None]
    if given:
        raise InputError(
            f"{', '.join(f'--{name}' for name in given)} with --model {arguments.model}: expected only for the "
            f"families {', '.join((*FAMILIES, *ALIASES))}; let the callable make the network as you want it"
        )
    return Model(_from_callable(arguments.model), None, arguments.model)


def _from_callable(name: str) -> nn.Module:
    """module:callable, looked for in the current folder first; called without arguments, or a module as it is."""
    from torch import nn

    found = import_object(name, "--model")
    model = found() if callable(found) and not isinstance(found, nn.Module) else found
    if not isinstance(model, nn.Module):
        raise InputError(f"--model {name} gave a {type(model).__name__}: expected a torch.nn.Module")
    return model


def _load_checkpoint(model: nn.Module, path: Path) -> None:
    """Load weights only: a checkpoint is data, never code."""
    import torch

    from batchscope.gradients.subject.failures import is_out_of_memory

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise InputError(f"checkpoint {path}: not found") from error
    except Exception as error:
        if is_out_of_memory(error):
            raise RunError(f"checkpoint {path}: memory ran out while it was read ({error})") from error
        raise InputError(f"checkpoint {path}: not a file of tensors saved by torch.save ({error})") from error
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    try:
        model.load_state_dict(content)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise InputError(f"checkpoint {path} does not fit the model: {error}") from error
