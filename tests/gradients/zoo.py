"""The zoo of docs/measuring.md: what becomes of each model that is measured; run as a program, it prints the table."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import torch

from batchscope.errors import BatchscopeError
from batchscope.gradients import measure
from batchscope.gradients.report import Coverage
from tests.gradients import gradient_models, test_any_model
from tests.gradients.gradient_models import squared_error

Line = tuple[str, str]  # model, what became of it


def rows() -> Iterator[Line]:
    for case in gradient_models.CASES:
        model, loss, inputs, targets = case.make(5)
        yield case.name, way(measure(model, loss, (inputs, targets)).coverage)
    for name, (build, inputs, _) in test_any_model.CASES.items():
        torch.manual_seed(sum(map(ord, name)))
        model, x = test_any_model.double(build()), inputs(5)
        with torch.no_grad() if name != "derivative in the model" else torch.enable_grad():
            y = torch.randn(model(x).shape, dtype=torch.float64)
        yield name, way(measure(model, squared_error, (x, y)).coverage)
    for name in ("lazy", "meta", "nan", "label", "broadcast"):
        yield name, refusal(name)


def way(coverage: Coverage) -> str:
    """ "rule", or how many of the parameters needed which slow way."""
    slow = {name: coverage.ways[name][0] for name in coverage.fallbacks}
    if not slow:
        return "rule"
    ways = {"vmap" if "vmap" in one.rules else "loop" for one in slow.values()}
    return f"{len(slow)} of {len(coverage.ways)} parameters by {' and '.join(sorted(ways))}"


def refusal(name: str) -> str:
    try:
        test_any_model.REFUSED[name][0]()
    except BatchscopeError as error:
        return f"refused: {' '.join(str(error).split())[:70]} ..."
    return "measured"


def table() -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lines = [f"| {name} | {what.replace('|', '/')} |" for name, what in rows()]
    return "\n".join(["| model | measured by |", "|---|---|", *lines])


if __name__ == "__main__":
    print(table())
