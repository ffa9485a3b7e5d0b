"""`build`: from an `Architecture` to an initialised network."""

from __future__ import annotations

import torch
from torch import nn

from batchscope.architectures.architecture import Architecture
from batchscope.architectures.initialisation import AS_MADE, initial_values


def build(
    architecture: Architecture,
    initialisation: str = "glorot_uniform",
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> nn.Module:
    """Return the network on the CPU with the initial weights that (initialisation, seed) determine.

    The same arguments give the same weights as a cohort's member with that seed starts from. With "as_made" they are
    what the module's code draws from PyTorch's random numbers after ``torch.manual_seed(seed)``.
    """
    if initialisation == AS_MADE:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return architecture.kind.module(architecture).to(dtype)
    module = architecture.kind.module(architecture).to(dtype)
    values = initial_values(architecture.parameter_shapes, initialisation, seed)
    state = {name: torch.from_numpy(value).to(dtype) for name, value in values.items()}
    module.load_state_dict(state, strict=False)  # running statistics stay as they are, tied weights tied
    return module
