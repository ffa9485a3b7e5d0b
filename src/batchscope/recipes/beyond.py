"""Questions that Chen et al. 2018 leave open, as studies small enough for minutes on two cores.

All but one on the 1437 embedded digits to 96 % training accuracy, five seeds; step sizes tuned on epochs to the target
unless a study asks about that.
"""

from __future__ import annotations

from itertools import product
from typing import Any

from batchscope.recipes.chen2018 import figure3
from batchscope.studies import StepSizes, Study

BUDGET, DEPTHS = 4000, (1, 4, 10)
SCHEMES = ("glorot_uniform", "he", "fan_in", "standard_normal")
# What is changed in the deepest net -> the key of the study that says so.
CHANGES: dict[str, dict[str, str]] = {
    "he": {"initialisation": "he"},
    "fan-in": {"initialisation": "fan_in"},
    "skip": {"family": "resmlp"},
    "layer-norm": {"family": "mlp_layer_norm"},
    "wide-first": {"family": "mlp_wide_first"},
    "wide-middle": {"family": "mlp_wide_middle"},
}

# What the paper leaves open of Figure 3(b), as variants of it.
OPTIMIZERS, WEIGHTS, INPUTS = ("", "momentum", "adam"), ("", "he"), ("", "unit")


def assumptions() -> tuple[Study, ...]:
    """Under which assumptions do ten layers on MNIST need the epochs that the text of Figure 3(b) has?

    The deepest net at B = 128 and 4096, three seeds, under every combination of optimizer, initial weights and inputs.
    """
    sets = product(OPTIMIZERS, WEIGHTS, INPUTS)
    return tuple(figure3("b", variant="+".join(filter(None, (*each, "deepest")))) for each in sets)


def rules() -> tuple[Study, Study]:
    """Is "deep is worse" a matter of the two-epoch rule? The same nets under it, and tuned on epochs to the target."""
    shapes: dict[str, Any] = {"budget": BUDGET, "depths": DEPTHS}
    return _small("rule-two-epochs", protocol="paper2018", **shapes), _small("rule-tuned", **shapes)


def initialisations() -> tuple[Study, ...]:
    """Does the largest batch follow B_S at the start when the initial weights change its order over shapes?"""
    return tuple(
        _small(f"weights-{scheme}", initialisation=scheme, budget=BUDGET, depths=(1, 2, 4, 7, 10)) for scheme in SCHEMES
    )


def constant_width() -> Study:
    """Depth alone: 1 to 10 hidden layers of 20 units, with as many more parameters."""
    return _small("constant-width", shapes=((1, 20), (4, 20), (10, 20)))


def constant_depth() -> Study:
    """Width alone: four hidden layers of 10 to 80 units, with as many more parameters."""
    return _small("constant-depth", shapes=((4, 10), (4, 20), (4, 40), (4, 80)))


def changes() -> tuple[Study, ...]:
    """What makes a deep net bear larger batches? One change each to ten layers of 17 units, and one layer of 54.

    All have 4000 weights to within 4 %; LayerNorm adds 340 gains and shifts. A layer that is wider leaves the others 14
    units: the first then has 28, or the sixth 56.
    """
    deep: dict[str, Any] = {"budget": BUDGET, "depths": DEPTHS[-1:]}
    shallow, plain = _small("shallow", **deep | {"depths": DEPTHS[:1]}), _small("deep", **deep)
    return shallow, plain, *(_small(f"deep-{name}", **deep, **change) for name, change in CHANGES.items())


def _small(name: str, **changes: Any) -> Study:
    common: dict[str, Any] = {
        "dataset": "digits",
        "batch_sizes": (16, 64, 256, 1024),
        "target": {"train_accuracy": 0.96},
        "max_epochs": 80,
        "num_seeds": 5,
        "protocol": "tuned",
        "diversity_every": 2,
        "step_sizes": StepSizes(min=0.05, max=1.6, ratio=2.0),
        "scaled": "1437 digits of 8 x 8 pixels, at most 80 epochs; a question of ours, not a figure of the paper",
    }
    return Study(name=f"beyond-{name}", **common | changes)
