"""`batchscope recipes`: the quickstart and the paper's experiments, with what they cost; Table 1 from the code."""

from __future__ import annotations

import argparse
import dataclasses

from rich.table import Table

from batchscope.cli.console import console, print_json
from batchscope.recipes import RECIPES
from batchscope.recipes.chen2018 import Table1Row, table1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None."""
    del parser


def run(arguments: argparse.Namespace) -> int:
    """Print the recipes and Table 1; 0."""
    if arguments.json:
        recipes = {
            name: {"summary": one.summary, "minutes": one.minutes, "gpu_hours": one.gpu_hours}
            for name, one in RECIPES.items()
        }
        print_json({"recipes": recipes, "table1": [dataclasses.asdict(row) for row in table1()]})
        return 0
    screen = console()
    screen.print(_recipes())
    screen.print(_table1())
    return 0


def _recipes() -> Table:
    heads = ("recipe", "what", "minutes, 2 cores", "GPU-hours")
    table = Table(*heads, title="Recipes: batchscope run RECIPE --out DIR", box=None)
    for name, recipe in RECIPES.items():
        table.add_row(name, recipe.summary, recipe.minutes, recipe.gpu_hours or "-")
    return table


def _table1() -> Table:
    heads = (
        "data set",
        "points",
        "model",
        "classes",
        "stated",
        "parameters, wide to deep",
        "target",
        "recipe",
        "minutes",
    )
    table = Table(*heads, title="\nTable 1 of Chen et al. 2018", box=None)
    for row in table1():
        table.add_row(*_cells(row))
    return table


def _cells(row: Table1Row) -> tuple[str, ...]:
    counts = " to ".join(f"{n:,}".replace(",", " ") for n in row.parameters)
    classes = "real-valued" if row.classes is None else str(row.classes)
    recipe = f"chen2018/{row.recipe}"
    points = f"{row.points:,}".replace(",", " ")
    return row.dataset, points, row.model, classes, row.stated, counts, row.target, recipe, RECIPES[recipe].minutes
