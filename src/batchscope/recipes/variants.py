"""Variants of the figures of Chen et al. 2018: another choice where the paper is silent, or a part of a figure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from batchscope.errors import InputError, choose
from batchscope.recipes.panels import (
    ACCURACY,
    EMNIST47,
    EPOCHS,
    GRID,
    GRID_OF_A,
    INPUTS,
    OPTIMIZER,
    WEIGHTS,
    WIDENED,
)
from batchscope.studies import StepSizes


@dataclass(frozen=True)
class Variant:
    """Another choice where the paper is silent, or a part of a figure.

    changes: keys of the study; a function takes the value that was there. said: assumption -> what replaces it.
    scaled: how it is a part only.
    """

    changes: Mapping[str, Any]
    said: Mapping[str, str] = field(default_factory=dict)
    scaled: str = ""


def _optimizer(text: str, low: float, high: float, **changes: Any) -> Variant:
    grid = _grid(low, high, 2.0)
    said = {OPTIMIZER: f"{text}: the optimizer is not stated beyond mini-batch SGD", **grid.said}
    return Variant(dict(grid.changes) | changes, said)


def _grid(low: float, high: float, ratio: float) -> Variant:
    text = f"step sizes {low:g} to {high:g} by factors of {ratio:g}, {WIDENED}"
    return Variant({"step_sizes": StepSizes(min=low, max=high, ratio=ratio)}, dict.fromkeys((GRID, GRID_OF_A), text))


def _weights(text: str, name: str, **changes: Any) -> Variant:
    return Variant({"initialisation": name} | changes, {WEIGHTS: f"{text} weights, biases 0: not stated"})


def _part(depths: tuple[int, ...] | None, batch_sizes: tuple[int, ...], num_seeds: int | None = None) -> Variant:
    """Some of a figure's cells, with as many seeds as it has unless fewer are given. depths: None for all."""
    changes: dict[str, Any] = {"batch_sizes": _some(batch_sizes)} | ({"depths": _some(depths)} if depths else {})
    shapes = f"depths {list(depths)}, " if depths else ""
    seeds = "" if num_seeds is None else f" and {num_seeds} seeds"
    changes |= {} if num_seeds is None else {"num_seeds": num_seeds}
    return Variant(changes, scaled=f"{shapes}batch sizes {list(batch_sizes)}{seeds} only")


def _some(kept: tuple[int, ...]) -> Callable[[tuple[int, ...]], tuple[int, ...]]:
    def choose_from(there: tuple[int, ...]) -> tuple[int, ...]:
        if not set(kept) <= set(there):
            raise InputError(f"a part of {list(kept)} was asked for, but the figure has {list(there)} only")
        return kept

    return choose_from


def _running(target: Mapping[str, float]) -> dict[str, float]:
    return {"train_accuracy_running": target["train_accuracy"]}


VARIANTS: dict[str, Variant] = {
    "momentum": _optimizer("SGD with momentum 0.9", 0.001, 0.256, momentum=0.9),
    "nesterov": _optimizer("SGD with Nesterov's momentum 0.9", 0.001, 0.256, optimizer="nesterov", momentum=0.9),
    "adam": _optimizer("Adam", 0.0001, 0.0256, optimizer="adam"),
    "rmsprop": _optimizer("RMSprop", 0.0001, 0.0256, optimizer="rmsprop"),
    "adadelta": _optimizer("Adadelta", 0.0625, 16.0, optimizer="adadelta"),
    "tuned": Variant({"protocol": "tuned"}),
    "raced": Variant({"protocol": "tuned", "race": True}),
    "other_grid": _grid(0.01, 2.15, 2.15),
    "he": _weights("He", "he"),
    "fan_in": _weights("N(0, 1 / fan_in)", "fan_in"),
    "unit": Variant({"inputs": "unit"}, {INPUTS: "inputs in [0, 1]: not stated"}),
    "running": Variant(
        {"target": _running}, {ACCURACY: "training accuracy over an epoch's batches, as Keras prints it"}
    ),
    "fine": Variant(
        {"evaluations_per_epoch": 20},
        {ACCURACY: "training accuracy twenty times an epoch: Keras prints its average over it"},
    ),
    "three_passes": Variant(  # 250: the text has 211 epochs
        {"passes_per_epoch": 3, "max_epochs": 250},
        {
            EPOCHS: "at most 250 epochs: not stated",
            EMNIST47: f"{EMNIST47}; three passes over them are an epoch, which has the steps of Balanced's 112 800",
        },
    ),
    "sparse": _part(None, (64, 256, 1024, 4096), 3),
    "coarse": _part((1, 3, 10), (64, 256, 1024, 4096), 3),
    "ends": _part((1, 10), (256, 1024, 4096), 3),
    "at4096": _part((1, 10), (4096,)),
    "at256": _part(None, (256,)),
    "deepest": _part((10,), (128, 4096), 3),
}


def varied(names: str, values: dict[str, Any]) -> dict[str, Any]:
    """The keys of a study under one variant or several, joined by "+"; its name and assumptions say so."""
    given = names.split("+") if names else []
    for place, name in enumerate(given):
        one = VARIANTS[choose("variant", name, VARIANTS)]
        _check_beside(name, one, given[:place])
        _check_said(name, one, values)
        said = tuple(one.said.get(line, line) for line in values["assumptions"])
        changed = {key: new(values[key]) if callable(new) else new for key, new in one.changes.items()}
        scaled = "; ".join(filter(None, (values.get("scaled"), one.scaled)))
        values = values | changed | {"name": f"{values['name']}-{name}", "assumptions": said, "scaled": scaled}
    return values


def _check_beside(name: str, one: Variant, before: list[str]) -> None:
    """Raise InputError where a variant is given twice, or replaces what one before it has replaced."""
    if name in before:
        raise InputError(f"variant {name!r} is given twice; expected each once")
    for other in before:
        both = [key for key in one.changes if key in VARIANTS[other].changes and not callable(one.changes[key])]
        if both:
            raise InputError(f"variants {other!r} and {name!r} both choose {', '.join(both)}; expected one of them")


def _check_said(name: str, one: Variant, values: dict[str, Any]) -> None:
    """Raise InputError where a variant replaces an assumption that the figure does not make."""
    placed = {text for line, text in one.said.items() if line in values["assumptions"]}
    if placed != set(one.said.values()):
        said = [line for line, text in one.said.items() if text not in placed]
        raise InputError(f"variant {name!r} is not for {values['name']!r}, which does not assume {said[0]!r}")
