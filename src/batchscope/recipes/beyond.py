"""Questions that Chen et al. 2018 leave open, as studies small enough for two cores.

All on a seeded subset of MNIST to 96 % training accuracy, step sizes tuned on epochs to the target, three seeds.
"""

from __future__ import annotations

from typing import Any

from batchscope.studies import StepSizes, Study

DEEP = (10, 17)  # the deepest net of Figure 3(b): hidden layers and units of each


def constant_width() -> Study:
    """Depth alone: 1 to 9 hidden layers of 20 units. At 784 inputs that is also almost equal parameters."""
    return _small("constant-width", shapes=((1, 20), (3, 20), (9, 20)))


def constant_depth() -> Study:
    """Width alone: three hidden layers of 10 to 80 units, with as many times the parameters."""
    return _small("constant-depth", shapes=((3, 10), (3, 20), (3, 40), (3, 80)))


def changes() -> tuple[Study, ...]:
    """What makes a deep net bear larger batches? One change each to ten layers of 17 units, and one layer of 21.

    All have 16 000 weights to within 4 %; LayerNorm adds 340 gains and shifts.
    """
    return (
        _small("shallow", shapes=((1, 21),)),
        _small("deep", shapes=(DEEP,)),
        _small("deep-he", shapes=(DEEP,), initialisation="he"),
        _small("deep-skip", shapes=(DEEP,), family="resmlp"),
        _small("deep-layer-norm", shapes=(DEEP,), family="mlp_layer_norm"),
    )


def _small(name: str, **changes: Any) -> Study:
    common: dict[str, Any] = {
        "dataset": "mnist",
        "num_examples": 6000,
        "batch_sizes": (128, 512, 2048),
        "target": {"train_accuracy": 0.96},
        "max_epochs": 60,
        "num_seeds": 3,
        "protocol": "tuned",
        "diversity_every": 2,
        "step_sizes": StepSizes(min=0.02, max=1.28, ratio=2.0),
        "scaled": "6000 images of MNIST, at most 60 epochs; a question of ours, not a figure of the paper",
    }
    return Study(name=f"beyond-{name}", **common | changes)
