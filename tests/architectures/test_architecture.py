"""Closed-form counts and initial values against the built module."""

import numpy as np
import pytest
import torch

from batchscope.architectures import INITIALISATIONS, Architecture, build, initial_values, weight_std
from batchscope.errors import InputError


@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", ["relu", "tanh", "softsign", "arctan", "linear"])
def test_counts_and_shapes_equal_the_modules(depth, bias, activation):
    architecture = Architecture("fully_connected", (3, 5), 2, depth, 7, activation=activation, bias=bias)
    module = build(architecture)
    assert {name: tuple(p.shape) for name, p in module.named_parameters()} == architecture.parameter_shapes
    assert sum(p.numel() for p in module.parameters()) == architecture.num_parameters
    assert sum(p.numel() for p in module.parameters() if p.dim() == 2) == architecture.num_weights
    assert module(torch.zeros(11, 3, 5)).shape == (11, 2)


@pytest.mark.parametrize("scheme", INITIALISATIONS)
def test_weights_have_the_schemes_deviation_and_biases_are_zero(scheme):
    fan_in, fan_out = 211, 307
    values = initial_values({"weight": (fan_out, fan_in), "bias": (fan_out,)}, scheme, seed=3)
    n = fan_in * fan_out
    expected = weight_std(scheme, fan_in, fan_out)
    assert values["weight"].std() == pytest.approx(expected, rel=5 / np.sqrt(2 * n))  # 5 standard errors
    assert abs(values["weight"].mean()) < 5 * expected / np.sqrt(n)
    assert not values["bias"].any()


def test_seeds_decide_the_weights():
    architecture = Architecture("fully_connected", (11,), 3, 2, 5)
    first, again, other = (build(architecture, seed=seed)[0].weight for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_activation_names_are_checked():
    with pytest.raises(
        InputError, match="activation 'softsgn' in family 'fully_connected'; expected relu or tanh or softsign"
    ):
        Architecture("fully_connected", (3,), 1, 1, 2, activation="softsgn")
