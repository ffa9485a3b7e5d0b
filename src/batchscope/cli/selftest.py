"""`batchscope selftest`: analysis and measurement on problems with a known answer; expected and got, side by side."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator

import numpy as np

from batchscope.analysis.formatting import rendered, text_table
from batchscope.analysis.known_answers.check import Check
from batchscope.analysis.known_answers.selftest import CHECKS, near
from batchscope.cli.console import print_json

EXIT_DONE, EXIT_FAILED = 0, 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None but --json."""
    parser.epilog = "Exit status 0 when every check agrees, 1 when one does not."


def run(arguments: argparse.Namespace) -> int:
    """Run the checks, print them, return 0 when all agree."""
    checks = tuple(check for group in ALL_CHECKS for check in group())
    agree = sum(check.passed for check in checks)
    if arguments.json:
        print_json({"passed": agree == len(checks), "checks": [check.as_dict() for check in checks]})
    else:
        print(_table(checks))
        print(f"{agree} of {len(checks)} checks agree")
    return EXIT_DONE if agree == len(checks) else EXIT_FAILED


def measurement() -> Iterator[Check]:
    """`measure` of a linear model, whose per-example gradients r_i x_i are written down: all data, and a sample."""
    import torch
    from torch import nn

    from batchscope.gradients import measure, per_example_sq_norms

    generator = torch.Generator().manual_seed(0)
    inputs, targets = (torch.randn(101, size, generator=generator, dtype=torch.float64) for size in (7, 1))
    model = nn.Linear(7, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        model.weight.copy_(torch.linspace(-1, 1, 7)[None])
        gradients = ((model(inputs) - targets) * inputs).numpy()
    sum_sq_norms, sq_norm_sum = (gradients**2).sum(), (gradients.sum(axis=0) ** 2).sum()
    source = "linear regression, 101 examples, gradients r x"

    def loss(outputs: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        return 0.5 * (outputs - wanted).square().sum(dim=1)

    report = measure(model, loss, (inputs, targets))
    bound = 101 * sum_sq_norms / sq_norm_sum
    for name, expected, got in (
        ("measure: sum of squared norms", sum_sq_norms, report.sum_sq_norms),
        ("measure: squared norm of the sum", sq_norm_sum, report.sq_norm_sum),
        ("measure: gradient diversity", sum_sq_norms / sq_norm_sum, report.gradient_diversity),
        ("measure: batch-size bound", bound, report.batch_size_bound),
        ("measure: noise scale", bound - 1, report.simple_noise_scale),
        ("measure: the same of the layer", bound, next(iter(report.by_parameter.values())).batch_size_bound),
    ):
        yield near(name, source, float(expected), float(got), 1e-9)
    norms = per_example_sq_norms(model, loss, inputs, targets).numpy()
    worst = float(np.abs(norms / (gradients**2).sum(axis=1) - 1).max())
    yield Check("per-example squared norms", source, "at most 1e-9 off", f"{worst:.1g} off", worst < 1e-9)
    sample = measure(model, loss, (inputs[:60], targets[:60]), population=math.inf).interval
    low, high = sample or (math.nan, math.nan)
    passed = 1 <= low < bound < high < 20 * bound
    yield Check("interval from 60 of them", source, f"holds {bound:.3g}, bounded", f"[{low:.3g}, {high:.3g}]", passed)


ALL_CHECKS: tuple[Callable[[], Iterator[Check]], ...] = (*CHECKS, measurement)


def _table(checks: tuple[Check, ...]) -> str:
    lines = [(check.name, check.expected, check.got, "ok" if check.passed else "WRONG") for check in checks]
    heads = ("check", "expected", "got", "")
    return rendered(text_table(heads, lines, "batchscope selftest", left=("check", "expected", "got")))
