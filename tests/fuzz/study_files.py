"""Study files that are almost right."""

from __future__ import annotations

import copy
import random
from typing import Any

import tomli_w

from tests.fuzz import odd

SYNTHETIC: dict[str, Any] = {
    "name": "odd",
    "dataset": "synthetic",
    "num_examples": 101,
    "dataset_options": {"d_in": 7, "num_heldout": 5},
    "budget": 100,
    "depths": [1, 2],
    "batch_sizes": [10, 50],
    "target": {"train_loss": 0.05},
    "max_epochs": 3,
    "num_seeds": 2,
    "step_sizes": {"min": 0.02, "max": 0.08, "ratio": 2.0},
}
DIGITS: dict[str, Any] = {
    "name": "digits",
    "dataset": "digits",
    "shapes": [[1, 5], [3, 4]],
    "batch_sizes": [16, 64],
    "target": {"train_accuracy": 0.9},
    "protocol": "tuned",
    "optimizer": "adam",
    "activation": "tanh",
    "seed": 3,
}
OTHER_KEYS = ("self", "__class__", "model_config", "cls", "values", "x" * 5000, "batchsizes", "é", "a.b", "", "family")


def make(chance: random.Random) -> bytes:
    """The bytes of a study file with a few things wrong, or none."""
    study = copy.deepcopy(chance.choice((SYNTHETIC, DIGITS)))
    for _ in range(chance.choice((0, 1, 1, 1, 1, 1, 2, 3))):
        _change(study, chance)
    content = _written(study)
    if chance.random() < 0.15:
        content = odd.bytes_of(content, chance)
    if chance.random() < 0.03:
        content += b"".join(b"key%d = %d\n" % (number, number) for number in range(chance.choice((10, 20_000))))
    if chance.random() < 0.05:
        content = b"".join(b"[[studies]]\n" + content for _ in range(chance.choice((1, 2, 50))))
    return content


def _change(study: dict[str, Any], chance: random.Random) -> None:
    from batchscope.studies import Study

    if chance.random() < 0.15:
        study[chance.choice(OTHER_KEYS)] = odd.value(chance)
        return
    place, key = study, chance.choice(sorted({*Study.model_fields, *study}))
    if isinstance(place.get(key), dict) and chance.random() < 0.7:
        place = place[key]
        key = chance.choice(sorted(place)) if place else "x"
    if isinstance(place.get(key), list) and place[key] and chance.random() < 0.4:
        place[key][chance.randrange(len(place[key]))] = odd.value(chance)
    elif chance.random() < 0.1:
        place.pop(key, None)
    else:
        place[key] = odd.value(chance)


def _written(study: dict[str, Any]) -> bytes:
    return tomli_w.dumps(study).replace(f'"{odd.DIGITS}"', "9" * 5000).encode()
