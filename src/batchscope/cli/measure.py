"""`batchscope measure --model M --data D`: gradient diversity of a model on a data set."""

from __future__ import annotations

import argparse
import importlib
import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchscope.architectures import INITIALISATIONS, Architecture
from batchscope.architectures.architecture import ACTIVATIONS, FAMILIES
from batchscope.cli.console import print_json
from batchscope.data import Dataset, load
from batchscope.errors import InputError, closest

if TYPE_CHECKING:
    from torch import nn

    from batchscope.gradients import Moments, Report

LOSSES = ("auto", "cross_entropy", "mse")
CHOICES = {"batchnorm": ("refuse", "eval", "frozen", "microbatch"), "dropout": ("refuse", "eval", "sample")}
DEFAULT_SHAPE = (2, 19)  # hidden layers, units: 784-19x2-10 has 15 447 weights, near the paper's budget of 16 000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--model", required=True, help=f"{', '.join(FAMILIES)}, or module:callable returning a module")
    parser.add_argument("--data", required=True, help="a data set; `batchscope data list` names them")
    parser.add_argument("--data-dir", metavar="DIR", help="the first folder to look in")
    parser.add_argument("--num-examples", type=int, help="measure a random subset; the interval is for the whole set")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="a state_dict saved by torch.save")
    parser.add_argument("--depth", type=int, default=DEFAULT_SHAPE[0], help="hidden layers (family)")
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--width", type=int, default=DEFAULT_SHAPE[1], help="units per hidden layer (family)")
    shape.add_argument("--budget", type=int, help="number of weights, instead of a width (family)")
    parser.add_argument("--activation", choices=ACTIVATIONS, default="relu")
    parser.add_argument("--initialisation", choices=tuple(INITIALISATIONS), default="glorot_uniform")
    parser.add_argument("--seed", type=int, default=0, help="of the initialisation and the subset")
    parser.add_argument("--loss", choices=LOSSES, default="auto", help="auto: cross_entropy for classes, else mse")
    parser.add_argument(
        "--batch-size", type=int, default=1024, help="examples per pass; the result does not depend on it"
    )
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    for name, choices in CHOICES.items():
        parser.add_argument(f"--{name}", choices=choices, default="refuse")
    parser.add_argument(
        "--coverage", action="store_true", help="also print how each parameter was measured, and the plan"
    )


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; errors of the input leave as InputError, DataError or MeasurementError."""
    import torch

    from batchscope.gradients import measure

    dataset = load(
        arguments.data, data_dir=arguments.data_dir, num_examples=arguments.num_examples, seed=arguments.seed
    )
    dtype = getattr(torch, arguments.dtype)
    model = _model(arguments, dataset).to(_device(arguments.device), dtype)
    inputs, targets = torch.from_numpy(dataset.inputs).to(dtype), torch.from_numpy(dataset.targets)
    targets = targets if dataset.num_classes is not None else targets.to(dtype)
    report = measure(
        model,
        _loss(arguments.loss, dataset),
        (inputs, targets),
        population=_population(arguments),
        batch_size=None if arguments.num_examples else arguments.batch_size,
        batchnorm=arguments.batchnorm,
        dropout=arguments.dropout,
    )
    if arguments.json:
        print_json(_record(arguments, dataset, report))
    else:
        print(f"{arguments.model} on {dataset.title or dataset.name}")
        print(report)
        if arguments.coverage:
            print(f"\n{report.coverage}\n\n{report.plan}")
    return 0


def _population(arguments: argparse.Namespace) -> int | None:
    """Size of the whole set when a subset of it is measured."""
    if arguments.num_examples is None or arguments.data == "synthetic":
        return None
    return load(arguments.data, data_dir=arguments.data_dir).num_examples


def _model(arguments: argparse.Namespace, dataset: Dataset) -> nn.Module:
    model = _from_callable(arguments.model) if ":" in arguments.model else _from_family(arguments, dataset)
    if arguments.checkpoint is not None:
        _load_checkpoint(model, arguments.checkpoint)
    return model


def _from_family(arguments: argparse.Namespace, dataset: Dataset) -> nn.Module:
    import torch

    from batchscope.architectures import build

    if arguments.model not in FAMILIES:
        raise InputError(
            f"unknown model {arguments.model!r}: {closest(arguments.model, FAMILIES)} "
            "A model of your own is given as module:callable."
        )
    shape = dataset.inputs.shape[1:]
    rest = arguments.activation
    if arguments.budget is not None:
        made = Architecture.within_budget(
            arguments.model, shape, dataset.d_out, arguments.depth, arguments.budget, rest
        )
    else:
        made = Architecture(arguments.model, shape, dataset.d_out, arguments.depth, arguments.width, rest)
    return build(made, arguments.initialisation, arguments.seed, getattr(torch, arguments.dtype))


def _from_callable(name: str) -> nn.Module:
    """module:callable, looked for in the current folder first; called without arguments, or a module as it is."""
    from torch import nn

    module_name, _, attribute = name.partition(":")
    sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise InputError(f"--model {name}: {error}; expected module:callable, importable from here") from error
    finally:
        sys.path.remove(os.getcwd())
    model = found() if callable(found) and not isinstance(found, nn.Module) else found
    if not isinstance(model, nn.Module):
        raise InputError(f"--model {name} gave a {type(model).__name__}: expected a torch.nn.Module")
    return model


def _load_checkpoint(model: nn.Module, path: Path) -> None:
    """Load weights only: a checkpoint is data, never code."""
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise InputError(f"checkpoint {path}: not found") from error
    except Exception as error:
        raise InputError(f"checkpoint {path}: not a file of tensors saved by torch.save ({error})") from error
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    try:
        model.load_state_dict(content)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise InputError(f"checkpoint {path} does not fit the model: {error}") from error


def _device(name: str) -> str:
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(f"--device {name}: no CUDA device is available; use cpu or auto")
    return name


def _loss(name: str, dataset: Dataset) -> Any:
    import torch.nn.functional as F

    if name == "cross_entropy" or (name == "auto" and dataset.num_classes is not None):
        return F.cross_entropy
    return F.mse_loss


def _record(arguments: argparse.Namespace, dataset: Dataset, report: Report) -> dict[str, Any]:
    return {
        "model": arguments.model,
        "data": dataset.name,
        "data_fingerprint": dataset.fingerprint,
        "num_examples": report.num_examples,
        **_numbers(report.total),
        "population": report.population,
        "interval": None if report.interval is None else [_finite(end) for end in report.interval],
        "by_module": {name: _numbers(moments) for name, moments in report.by_module.items()},
        "by_parameter": {name: _numbers(moments) for name, moments in report.by_parameter.items()},
        "coverage": {
            name: [{"rules": way.rules, "kernel": way.kernel} for way in ways]
            for name, ways in report.coverage.ways.items()
        },
        "notes": report.notes,
    }


def _numbers(moments: Moments) -> dict[str, float | None]:
    names = ("sum_sq_norms", "sq_norm_sum", "gradient_diversity", "batch_size_bound", "simple_noise_scale")
    return {name: _finite(getattr(moments, name)) for name in names}


def _finite(value: float) -> float | None:
    """JSON has no NaN and no infinity: a missing number is null."""
    return value if math.isfinite(value) else None
