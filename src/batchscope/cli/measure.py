"""`batchscope measure --model M --data D`: gradient diversity of a model on a data set."""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchscope.architectures import Architecture
from batchscope.cli import models
from batchscope.cli.console import print_json
from batchscope.cli.models import Model
from batchscope.data import Dataset, load
from batchscope.errors import InputError, shown

if TYPE_CHECKING:
    from batchscope.gradients import Moments, Report
    from batchscope.gradients.parts import Part

LOSSES = ("auto", "cross_entropy", "mse")
CHOICES = {"batchnorm": ("refuse", "eval", "frozen", "microbatch"), "dropout": ("refuse", "eval", "sample")}
TABLES = ("module", "kind", "block")
LARGEST_PASS = 1024  # examples at once through small networks
# A pass keeps each unit about four times (convolved, normalised, activated, its gradient) in 4 bytes.
ACTIVATION_BYTES, BYTES_PER_UNIT = 2**30, 16


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    models.add_options(parser)
    parser.add_argument("--data", required=True, help="a data set; `batchscope data list` names them")
    parser.add_argument("--data-dir", metavar="DIR", help="the first folder to look in")
    parser.add_argument("--num-examples", type=int, help="measure a random subset; the interval is for the whole set")
    parser.add_argument("--seed", type=int, default=0, help="of the initialisation and the subset")
    parser.add_argument("--loss", choices=LOSSES, default="auto", help="auto: cross_entropy for classes, else mse")
    parser.add_argument("--batch-size", type=int, help="examples per pass; the result does not depend on it")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    for name, choices in CHOICES.items():
        parser.add_argument(f"--{name}", choices=choices, default="refuse")
    parser.add_argument("--by", choices=TABLES, default="module", help="rows of the table")
    parser.add_argument("--figure", metavar="FILE.png", help="draw B_S by block and kind of layer (.png, .svg or .pdf)")
    parser.add_argument(
        "--coverage", action="store_true", help="also print how each parameter was measured, and the plan"
    )


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; errors of the input leave as InputError, DataError or MeasurementError."""
    figure = _figure_path(arguments)
    dataset = load(
        arguments.data, data_dir=arguments.data_dir, num_examples=arguments.num_examples, seed=arguments.seed
    )
    model = models.make(arguments, dataset)
    report = _measure(arguments, model, dataset)
    if figure:
        _draw(figure, model, dataset, report)
    if arguments.json:
        print_json(_record(arguments, model, dataset, report))
        return 0
    print(f"{model.about}\non {dataset.title or dataset.name}")
    print(report.text(arguments.by))
    if arguments.coverage:
        print(f"\n{report.coverage}\n\n{report.plan}")
    if figure:
        print(f"figure: {figure}")
    return 0


def _measure(arguments: argparse.Namespace, model: Model, dataset: Dataset) -> Report:
    import torch

    from batchscope.gradients import measure

    dtype = getattr(torch, arguments.dtype)
    inputs, targets = torch.from_numpy(dataset.inputs), torch.from_numpy(dataset.targets)
    inputs = inputs if dataset.is_tokens else inputs.to(dtype)
    return measure(
        model.module.to(_device(arguments.device), dtype),
        _loss(arguments.loss, dataset),
        (inputs, targets if dataset.num_classes is not None else targets.to(dtype)),
        population=_population(arguments),
        batch_size=_batch_size(arguments, model.architecture, dataset.num_examples),
        batchnorm=arguments.batchnorm,
        dropout=arguments.dropout,
    )


def _batch_size(arguments: argparse.Namespace, architecture: Architecture | None, num_examples: int) -> int:
    """Examples per pass: as asked for, or what keeps the activations of a deep network in memory."""
    from batchscope.gradients.moments import MOST_GROUPS

    if arguments.batch_size is not None and arguments.batch_size < 1:
        raise InputError(f"--batch-size {arguments.batch_size}: expected at least 1")
    fitting = LARGEST_PASS
    if architecture is not None:
        fitting = min(fitting, max(1, ACTIVATION_BYTES // (BYTES_PER_UNIT * architecture.num_units)))
    size = arguments.batch_size or fitting
    # The interval of a subset needs its examples spread over groups of batches.
    return int(min(size, math.ceil(num_examples / MOST_GROUPS)) if arguments.num_examples else size)


def _figure_path(arguments: argparse.Namespace) -> Path | None:
    """Refuse an unusable name before the measurement, not after it."""
    if arguments.figure is None:
        return None
    from batchscope.report.drawing.static import check_path

    return check_path(arguments.figure)


def _draw(path: Path, model: Model, dataset: Dataset, report: Report) -> None:
    from batchscope.report.charts.blocks import block_diversity
    from batchscope.report.drawing import static

    of = f" of {report.population:g}" if report.population else ""
    title = f"{dataset.title or dataset.name}, n = {report.num_examples}{of} examples"
    static.write(block_diversity({title: [report]}), path, model.about)


def _population(arguments: argparse.Namespace) -> int | None:
    """Size of the whole set when a subset of it is measured."""
    if arguments.num_examples is None or arguments.data == "synthetic":
        return None
    return load(arguments.data, data_dir=arguments.data_dir).num_examples


def _device(name: str) -> str:
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(r"cpu|cuda(:[0-9]{1,3})?", name):
        raise InputError(f"--device {shown(name)}: expected auto, cpu, cuda, or cuda:0, cuda:1, ...")
    found = torch.cuda.device_count()
    if name.startswith("cuda") and int(name.partition(":")[2] or 0) >= found:
        raise InputError(f"--device {name}: {found or 'no'} CUDA devices are available; use cpu or auto")
    return name


def _loss(name: str, dataset: Dataset) -> Any:
    import torch.nn.functional as F

    if dataset.positions:
        from batchscope.training.modules.scoring import per_example

        return per_example  # the mean over an example's tokens
    if name == "cross_entropy" or (name == "auto" and dataset.num_classes is not None):
        return F.cross_entropy
    return F.mse_loss


def _record(arguments: argparse.Namespace, model: Model, dataset: Dataset, report: Report) -> dict[str, Any]:
    return {
        "model": arguments.model,
        "about": model.about,
        "data": dataset.name,
        "data_fingerprint": dataset.fingerprint,
        "num_examples": report.num_examples,
        **_numbers(report.total),
        "population": report.population,
        "interval": None if report.interval is None else [_finite(end) for end in report.interval],
        "by_module": {name: _numbers(moments) for name, moments in report.by_module.items()},
        "by_kind": {name: _part(part) for name, part in report.by_kind.items()},
        "by_block": {name: _part(part) for name, part in report.by_block.items()},
        "by_parameter": {name: _numbers(moments) for name, moments in report.by_parameter.items()},
        "coverage": {
            name: [{"rules": way.rules, "kernel": way.kernel} for way in ways]
            for name, ways in report.coverage.ways.items()
        },
        "notes": report.notes,
        "figure": arguments.figure,
    }


def _part(part: Part) -> dict[str, float | None]:
    return {"num_parameters": part.num_parameters, **_numbers(part), "share": _finite(part.share)}


def _numbers(moments: Moments) -> dict[str, float | None]:
    names = ("sum_sq_norms", "sq_norm_sum", "gradient_diversity", "batch_size_bound", "simple_noise_scale")
    return {name: _finite(getattr(moments, name)) for name in names}


def _finite(value: float) -> float | None:
    """JSON has no NaN and no infinity: a missing number is null."""
    return value if math.isfinite(value) else None
