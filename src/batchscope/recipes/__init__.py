"""Functions returning studies: the quickstart, the figures of papers, and their questions asked of transformers.

The command line only chooses among them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from batchscope.errors import InputError, closest, shown
from batchscope.recipes import beyond, chen2018, modern, yin2018
from batchscope.recipes.panels import PANELS
from batchscope.recipes.quick import quickstart
from batchscope.studies import Study, read_studies
from batchscope.studies.study import Studies, as_studies

__all__ = ["RECIPES", "Recipe", "chen2018", "find", "modern", "quickstart"]


@dataclass(frozen=True)
class Recipe:
    """A named study. Those of the paper are made in variants too: ``make(variant="adam")``.

    minutes: wall time on two cores, as measured or (with "about") predicted. gpu_hours: on one data-centre GPU,
    predicted; empty where a GPU is not worth it.
    """

    make: Callable[..., Study | Studies]
    summary: str
    minutes: str
    gpu_hours: str = ""


# Of Figure 3: what a panel is, minutes and GPU hours. Costs of e to h at full size are predicted from 30 epochs to the
# target, 20 GFLOP/s of a core, 100 TFLOP/s of a GPU.
_FIGURE3: dict[str, tuple[str, ...]] = {
    "a": ("synthetic data, linear nets", "about 10"),
    "b": ("MNIST, fully-connected nets", "about 30"),
    "c": ("EMNIST-47 (reduced), fully-connected nets", "about 30"),
    "c-letters": ("EMNIST Letters, fully-connected nets", "about 100"),
    "d": ("Gisette, fully-connected nets", "about 30"),
    "d-like": ("a generated stand-in for Gisette, which needs no files", "about 30"),
    "e": ("MNIST, LeNet", "200 core-hours", "1"),
    "f": ("CIFAR-10, ResNet-18, fully-connected part", "40 000 core-hours", "about 9"),
    "g": ("CIFAR-10, ResNet-18, blocks", "17 000 core-hours", "about 4"),
    "h": ("CIFAR-10, ResNet-34, blocks", "45 000 core-hours", "about 9"),
    "e-small": ("the same on 3000 examples, 3 x 3 cells", "about 10"),
    "f-small": ("the same on 512 examples with few filters, 3 x 3 cells", "about 20"),
    "g-small": ("the same on 512 examples with few filters, 3 x 3 cells", "about 30"),
    "h-small": ("the same on 512 examples with few filters, 2 x 3 cells", "about 20"),
    "f-night": ("the same on 4096 examples with few filters, 3 x 3 cells", "about 90"),
    "g-night": ("the same on 4096 examples with few filters, 3 x 3 cells", "about 100"),
    "h-night": ("the same on 4096 examples with few filters, 2 x 3 cells", "about 60"),
}


def _figure3(name: str) -> Callable[..., Study]:
    """The panel of such a name: "d-like" is panel d on generated data, "e-small" panel e in its small form."""
    if name == "d-like":
        return functools.partial(chen2018.figure3, "d", "gisette_like")
    if name in PANELS:
        return functools.partial(chen2018.figure3, name)
    panel, scale = name.split("-")
    return functools.partial(chen2018.figure3, panel, scale=scale)


RECIPES: dict[str, Recipe] = {
    "quickstart": Recipe(quickstart, "wide or deep on digits and synthetic data: small, and real", "1"),
    "modern/gpt-width-depth": Recipe(
        modern.gpt_width_depth, "transformers, wide or deep: Adam on generated text", "about 15"
    ),
    "chen2018/figure1": Recipe(chen2018.figure1, "MNIST: four shapes, up to 250 epochs", "about 40"),
    "chen2018/figure2": Recipe(
        chen2018.figure2, "synthetic data, linear nets, gradient diversity along training", "about 10"
    ),
    "chen2018/figure2-mnist": Recipe(
        chen2018.figure2_mnist, "the same question on MNIST: the runs of figure3b", "about 35"
    ),
    **{f"chen2018/figure3{name}": Recipe(_figure3(name), *words) for name, words in _FIGURE3.items()},
    "yin2018/lemma1": Recipe(yin2018.lemma1, "Lemma 1: one step size for the sum at every batch size", "about 3"),
    "beyond/assumptions": Recipe(
        beyond.assumptions, "MNIST: which assumptions give the text's epochs of Figure 3(b)?", "about 10"
    ),
    "beyond/rules": Recipe(beyond.rules, "digits: the two-epoch rule against tuning to the target", "about 1"),
    "beyond/initialisations": Recipe(beyond.initialisations, "digits: does the largest batch follow B_S?", "about 3"),
    "beyond/constant-width": Recipe(beyond.constant_width, "digits: depth at constant width", "about 1"),
    "beyond/constant-depth": Recipe(beyond.constant_depth, "digits: width at constant depth", "about 1"),
    "beyond/changes": Recipe(beyond.changes, "digits: which change to a deep net buys batch?", "about 5"),
}


def find(name: str, variant: str = "") -> Studies:
    """Return the studies of a recipe name or of a TOML file; raise InputError naming the closest recipe.

    variant: of a recipe of the paper, a name in `chen2018.VARIANTS` or several joined by "+".
    """
    if name in chen2018.VIEWS:
        raise InputError(f"{name} shows runs of other figures: {chen2018.VIEWS[name]}")
    if variant and not (name in RECIPES and name.startswith("chen2018/")):
        raise InputError(f"variant {variant!r} of {name!r}; only the recipes chen2018/... have variants: leave it out")
    if name in RECIPES:
        return as_studies(RECIPES[name].make(variant=variant) if variant else RECIPES[name].make())
    if name.endswith(".toml") or _is_file(name):
        return read_studies(Path(name))
    raise InputError(f"unknown study {shown(name)}: {closest(name, RECIPES)} A study file must end in .toml.")


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except OSError:  # too long for a name of a file, or in a folder that is closed to us
        return False
