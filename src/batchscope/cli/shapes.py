"""`batchscope shapes`: shapes of one parameter budget, each with the ratio theory gives it."""

from __future__ import annotations

import argparse
from typing import Any

from rich.table import Table

from batchscope.architectures import count_weights, shapes_within, solve_width
from batchscope.cli.console import console, print_json
from batchscope.cli.numbers import examples, finite, integers, scale
from batchscope.errors import InputError
from batchscope.theory import chen2018

Shape = tuple[int, int]  # (hidden layers, units in each)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A budget, input and output sizes, depths."""
    parser.add_argument("--budget", required=True, type=int, metavar="P", help="weights, biases not counted")
    parser.add_argument("--d-in", required=True, type=int, metavar="D", help="input dimension")
    parser.add_argument("--d-out", required=True, type=int, metavar="OUT", help="outputs")
    parser.add_argument(
        "--depths", default="1-10", metavar="L,..", help="hidden layers, e.g. 1-10 or 1,2,5 (default 1-10)"
    )
    parser.add_argument("--num-examples", metavar="N", help="examples in the data set (default: the limit of many)")
    parser.add_argument(
        "--init", default="fan_in", metavar="SCHEME", help="second column: fan_in (default), he, glorot or a number"
    )
    parser.add_argument("--within", type=float, metavar="PERCENT", help="every shape this close to the budget")


def run(arguments: argparse.Namespace) -> int:
    """Print the width of every depth with the ratio of theory; 0."""
    record = _record(arguments)
    if arguments.json:
        print_json(record)
        return 0
    screen = console()
    screen.print(_table(record))
    screen.print(
        "Ratios, in examples, are exact for deep linear networks at initialisation with a teacher of their own shape."
    )
    return 0


def _record(arguments: argparse.Namespace) -> dict[str, Any]:
    n, init = examples("--num-examples", arguments.num_examples), scale("--init", arguments.init)
    if isinstance(init, list):
        raise InputError(f"--init {arguments.init}: shapes differ in depth, so give one scale or a name for all layers")
    rows = []
    for depth, width in _shapes(arguments):
        widths = (arguments.d_in, *[width] * depth, arguments.d_out)
        weights = count_weights(arguments.d_in, arguments.d_out, depth, width)
        rows.append(
            {
                "depth": depth,
                "width": width,
                "num_layers": depth + 1,
                "num_weights": weights,
                "off_budget": weights / arguments.budget - 1,
                "ratio_standard_normal": chen2018.diversity_ratio(widths, n),
                "ratio_init": chen2018.diversity_ratio(widths, n, init),
            }
        )
    asked = {name: getattr(arguments, name) for name in ("budget", "d_in", "d_out", "init")}
    return asked | {"num_examples": finite(n), "shapes": rows}


def _shapes(arguments: argparse.Namespace) -> list[Shape]:
    budget, d_in, d_out = arguments.budget, arguments.d_in, arguments.d_out
    depths = integers("--depths", arguments.depths)
    if arguments.within is None:
        return [(depth, solve_width(budget, depth, d_in, d_out)) for depth in depths]
    found = shapes_within(budget, d_in, d_out, depths, arguments.within / 100)
    if not found:
        raise InputError(
            f"no shape of {budget} weights within {arguments.within:g} %: allow more, or leave --within out"
        )
    return found


def _table(record: dict[str, Any]) -> Table:
    n = record["num_examples"]
    title = f"{record['d_in']} inputs, {record['d_out']} outputs, {record['budget']} weights; " + (
        f"n = {n} examples" if n else "n → ∞"
    )
    heads = ("hidden layers L", "units K", "weights", "off budget", "ratio, N(0, 1)", f"ratio, {record['init']}")
    table = Table(*heads, title=title, title_justify="left", box=None)
    for column in table.columns:
        column.justify = "right"
    for row in record["shapes"]:
        ratios = (f"{row[name]:.6g}" for name in ("ratio_standard_normal", "ratio_init"))
        sizes = (str(row[name]) for name in ("depth", "width", "num_weights"))
        table.add_row(*sizes, f"{row['off_budget']:+.2%}", *ratios)
    return table
