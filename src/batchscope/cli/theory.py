"""`batchscope theory`: what the formulas say about one shape: the paper's bound, a sharper one, the exact ratio."""

from __future__ import annotations

import argparse
import functools
from typing import Any

from rich.table import Table

from batchscope.cli.console import console, print_json
from batchscope.cli.numbers import examples, finite, integers, scale
from batchscope.errors import InputError
from batchscope.theory import chen2018, linear
from batchscope.theory.activations import ACTIVATIONS
from batchscope.theory.network import LinearNetwork


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Widths, number of examples, initialisation of student and teacher, biases, noise, activation."""
    parser.add_argument("--widths", required=True, metavar="D,K,..,OUT", help="input dimension, hidden widths, outputs")
    parser.add_argument("--num-examples", metavar="N", help="examples in the data set (default: the limit of many)")
    parser.add_argument(
        "--init",
        default="standard_normal",
        metavar="SCHEME",
        help="standard_normal (as in the paper; default), fan_in, he, glorot, a standard deviation, or one per matrix",
    )
    parser.add_argument("--teacher-init", metavar="SCHEME", help="the teacher's initialisation (default: as --init)")
    parser.add_argument("--bias", action="store_true", help="count the gradients of biases that start at zero")
    parser.add_argument("--label-noise", type=float, default=0.0, metavar="STD", help="noise on the targets")
    parser.add_argument(
        "--activation",
        default="linear",
        help=f"{', '.join(ACTIVATIONS)}; other than linear: one hidden layer, one output",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print moments, ratios and bounds; 0."""
    record = _nonlinear(arguments) if arguments.activation != "linear" else _linear(arguments)
    if arguments.json:
        print_json(record)
        return 0
    screen = console()
    screen.print(_summary(record))
    screen.print(_layers(record))
    screen.print(
        "Ratios are n E Σ‖g‖² / E‖Σg‖², in examples, averaged over weights, teacher and data at initialisation."
    )
    return 0


def _linear(arguments: argparse.Namespace) -> dict[str, Any]:
    widths, n = tuple(integers("--widths", arguments.widths)), examples("--num-examples", arguments.num_examples)
    student = scale("--init", arguments.init)
    teacher = None if arguments.teacher_init is None else scale("--teacher-init", arguments.teacher_init)
    network = LinearNetwork.of(widths, student, teacher, arguments.bias, arguments.label_noise)
    record = _record(arguments, widths, n, linear.relative_layer_moments(network))
    bounds = {
        "paper_bound": functools.partial(chen2018.theorem3_bound, widths),
        "paper_bound_holds_from": functools.partial(chen2018.theorem3_min_examples, widths),
        "sharp_bound": functools.partial(chen2018.sharp_bound, widths, student, teacher),
    }
    for name, bound in bounds.items():
        try:
            record[name] = bound()
        except InputError as refusal:
            record[name], record[f"{name}_refused"] = None, str(refusal)
    return record


def _nonlinear(arguments: argparse.Namespace) -> dict[str, Any]:
    widths, n = tuple(integers("--widths", arguments.widths)), examples("--num-examples", arguments.num_examples)
    if len(widths) != 3 or widths[-1] != 1:
        raise InputError(f"--activation {arguments.activation} needs widths D,K,1 (Theorem 2), got {arguments.widths}")
    if arguments.bias or arguments.label_noise or arguments.teacher_init:
        raise InputError("--bias, --label-noise and --teacher-init are for linear networks: leave them out here")
    std = scale("--init", arguments.init)
    layers = chen2018.two_layer_moments(arguments.activation, widths[1], widths[0], std)
    record = _record(arguments, widths, n, layers)
    return record | {"theorem2_form": chen2018.theorem2_form(widths[1], widths[0])}


def _record(
    arguments: argparse.Namespace, widths: tuple[int, ...], n: int | float, layers: tuple[linear.LayerMoments, ...]
) -> dict[str, Any]:
    total = linear.totals(layers)
    return {
        "widths": list(widths),
        "num_layers": len(widths) - 1,
        "depth": len(widths) - 2,
        "activation": arguments.activation,
        "init": arguments.init,
        "teacher_init": arguments.teacher_init or arguments.init,
        "bias": arguments.bias,
        "label_noise": arguments.label_noise,
        "num_examples": finite(n),
        "ratio": linear.ratio(total, n),
        "ratio_limit": linear.ratio(total, float("inf")),
        "layers": [
            {
                "layer": number,
                "shape": [widths[number], widths[number - 1]],
                "share": float(layer.sq_norm / total.sq_norm),
                "ratio": linear.ratio(layer, n),
            }
            for number, layer in enumerate(layers, start=1)
        ],
    }


def _summary(record: dict[str, Any]) -> Table:
    shape = "-".join(map(str, record["widths"]))
    depth = f"{record['depth']} hidden layer{'' if record['depth'] == 1 else 's'}"
    heading = f"{shape} {record['activation']}: {depth}, {record['num_layers']} weight matrices"
    table = Table("", "examples", "", title=f"{heading}; weights {record['init']}", title_justify="left", box=None)
    table.columns[1].justify = "right"
    if record["num_examples"]:
        table.add_row(f"exact ratio, n = {record['num_examples']}", f"{record['ratio']:.6g}", "proved here")
    standing = (
        "proved here" if record["activation"] in ("linear", "relu") else "formula proved here, computed numerically"
    )
    table.add_row("exact ratio, n → ∞", f"{record['ratio_limit']:.6g}", standing)
    if "theorem2_form" in record:
        note = "Kd²/(Kd+K+d), the paper's growth, without its constant"
        table.add_row("Theorem 2", f"{record['theorem2_form']:.6g}", note)
        return table
    table.add_row("sharper lower bound", *_bound(record, "sharp_bound", "proved here, n → ∞"))
    note = "for weights N(0, 1)" + ("" if record["init"] == "standard_normal" else " only, not this initialisation")
    if record["paper_bound_holds_from"] is not None:
        note += f", holds from n = {record['paper_bound_holds_from']:.1f}"
    table.add_row("the paper's lower bound (Theorem 3)", *_bound(record, "paper_bound", note))
    return table


def _bound(record: dict[str, Any], name: str, note: str) -> tuple[str, str]:
    return ("none", record[f"{name}_refused"]) if record[name] is None else (f"{record[name]:.6g}", note)


def _layers(record: dict[str, Any]) -> Table:
    table = Table("layer", "matrix", "share of E‖g‖²", "its own ratio", box=None)
    for column in table.columns[2:]:
        column.justify = "right"
    for layer in record["layers"]:
        out, fan_in = layer["shape"]
        table.add_row(str(layer["layer"]), f"{out} x {fan_in}", f"{layer['share']:.2%}", f"{layer['ratio']:.6g}")
    return table
