"""Optimizers, one file each: `OPTIMIZERS` names them, and the file of that name has the function `rule`. No torch here.

To add one: a file with ``rule(settings, parameter, layer_dims)``, which returns an `UpdateRule`, and its line below.
Hyper-parameters are options of a study; those left at 0 are as published, and the optimizer's file says so with source.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from batchscope.options import TrainingOptions
    from batchscope.training.optimizers.rule import UpdateRule

# Name -> what it is, with source.
OPTIMIZERS = {
    "sgd": "stochastic gradient descent, with heavy-ball momentum if asked (Polyak 1964)",
    "nesterov": "Nesterov momentum, 0.9 unless given (Sutskever et al. 2013)",
    "adam": "Kingma & Ba 2015",
    "adamw": "Adam with weight decay apart from the gradient (Loshchilov & Hutter 2019)",
    "rmsprop": "Tieleman & Hinton 2012",
    "adagrad": "Duchi et al. 2011",
    "adadelta": "Zeiler 2012",
    "lars": "step sizes per layer, momentum 0.9 unless given (You et al. 2017)",
    "lamb": "Adam with step sizes per layer (You et al. 2020)",
}


def update_rule(settings: TrainingOptions, parameter: Tensor, layer_dims: int) -> UpdateRule:
    """Return the rule that the settings ask for, with fresh state, for one parameter tensor.

    layer_dims: trailing dimensions of the tensor that are one layer's own, 1 for a bias; those before them count
    members, and layers of equal shape.
    """
    made: UpdateRule = importlib.import_module(f"{__name__}.{settings.optimizer}").rule(settings, parameter, layer_dims)
    return made
