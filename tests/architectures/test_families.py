"""Families: identities that must not change, and families of the user's own code."""

from __future__ import annotations

import hashlib
import itertools
import subprocess
import sys

import pytest
import torch

from batchscope.architectures import FAMILIES, Architecture, build, family_named, solve_width
from batchscope.errors import InputError
from batchscope.studies.dataset import DataFacts
from batchscope.studies.plan import cells, final_trial, tuning_trial
from batchscope.studies.study import Study

FLAT = DataFacts("f" * 16, 211, (13,), 3, 3, 5)
GREY = DataFacts("f" * 16, 211, (1, 28, 28), 10, 10, 5)
COLOUR = DataFacts("f" * 16, 211, (3, 32, 32), 10, 10, 5)

# Study -> (label of the first network, last network, id of the first and of the last trial, hash of all ids), as
# version 0.1 gave them, where "linear" was not yet a family of its own.
GOLDEN = {
    "linear": (
        ({"family": "linear", "budget": 300, "depths": [1, 3]}, FLAT),
        ("13-19-3 linear", "13-9x3-3 linear (306 weights)", "a547654eab892a72", "9390a576438052d1", "9f8fc43e791e5cfa"),
    ),
    "linear with options": (
        (
            {
                "family": "linear",
                "shapes": [[3, 5]],
                "initialisation": "he",
                "momentum": 0.9,
                "dtype": "float64",
                "sampling": "with_replacement",
            },
            FLAT,
        ),
        (
            "13-5x3-3 linear",
            "13-5x3-3 linear (130 weights)",
            "650b9fde479d4c30",
            "898e57abae461dd0",
            "be3c36a0abd22322",
        ),
    ),
    "fully_connected": (
        ({"budget": 300, "depths": [1, 3]}, FLAT),
        ("13-19-3 relu", "13-9x3-3 relu (306 weights)", "f472b615ecb27a09", "422ae39f0ed71766", "0c16720f4d52d1bf"),
    ),
    "tanh": (
        ({"shapes": [[2, 7]], "activation": "tanh", "optimizer": "adam"}, FLAT),
        ("13-7x2-3 tanh", "13-7x2-3 tanh (161 weights)", "804e80dc68ea2130", "70b9db709e3ab51f", "d627d1436ac14de4"),
    ),
    "lenet": (
        ({"family": "lenet", "shapes": [[1, 50]]}, GREY),
        (
            "lenet 20-50-50-10 relu",
            "lenet 20-50-50-10 relu (66 130 parameters)",
            "ea81cccba8901641",
            "32c11889858d15de",
            "04e9b881fdc95ace",
        ),
    ),
    "resnet18_blocks": (
        (
            {
                "family": "resnet18_blocks",
                "shapes": [[2, 8]],
                "norm": "group_norm",
                "augmentation": "pad_crop_flip",
            },
            COLOUR,
        ),
        (
            "resnet18 2-2-2-2 of 8 filters group_norm",
            "resnet18 2-2-2-2 of 8 filters group_norm (176 402 parameters)",
            "a4b642c379b7f004",
            "6d3277e0ec7f5b01",
            "14d3df7b4d31ccea",
        ),
    ),
    "resnet18_head": (
        ({"family": "resnet18_head", "shapes": [[1, 30]], "filters": 16, "batchnorm_shares": 2}, COLOUR),
        (
            "resnet18 of 16 filters 128-30-10",
            "resnet18 of 16 filters 128-30-10 (704 356 parameters)",
            "79bffe4ae0a11061",
            "2e9d9739d722333d",
            "282f591c5d8e1b78",
        ),
    ),
    "resnet34_blocks": (
        ({"family": "resnet34_blocks", "shapes": [[3, 8]], "dtype": "bfloat16", "diversity_every": 1}, COLOUR),
        (
            "resnet34 3-4-6-3 of 8 filters",
            "resnet34 3-4-6-3 of 8 filters (335 154 parameters)",
            "157d84167f09946b",
            "e988d75b70bf2182",
            "850ea877c7c8d8cd",
        ),
    ),
}

OWN = """
from torch import nn

from batchscope.architectures import Family


class Skip(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.inner = nn.Linear(width, width)

    def forward(self, x):
        return x + self.inner(x).relu()


class Skips(Family):
    def module(self, net):
        layers = [nn.Linear(net.d_in, net.width), *(Skip(net.width) for _ in range(net.depth)),
                  nn.Linear(net.width, net.d_out)]
        return nn.Sequential(nn.Flatten(), *layers)


class Convolutions(Family):
    takes_images = True

    def module(self, net):
        return nn.Sequential(nn.Conv2d(net.input_shape[0], net.width, 3), nn.ReLU(), nn.Flatten(),
                             nn.LazyLinear(net.d_out))


class Versioned(Skips):
    identity = {"version": "2"}


class Twisted(Family):
    def module(self, net):
        return nn.Flatten()


class NeedsArguments(Skips):
    def __init__(self, colour):
        self.colour = colour


ready = NeedsArguments("blue")
number = 7
"""


def study_of(**values):
    fixed = {
        "name": "golden",
        "dataset": "d",
        "batch_sizes": [4, 32],
        "target": {"train_loss": 0.1},
        "max_epochs": 7,
    }
    return Study(**(fixed | values))


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    """A module of the user's own in the current folder, importable for this test only."""
    (tmp_path / "ownnets.py").write_text(OWN)
    (tmp_path / "ownbroken.py").write_text("1 / 0\n")
    (tmp_path / "ownmissing.py").write_text("import surely_not_installed\n")
    monkeypatch.chdir(tmp_path)
    yield "ownnets"
    for name in ("ownnets", "ownbroken", "ownmissing"):
        sys.modules.pop(name, None)
    from batchscope.architectures import architecture

    architecture._parameters_of.cache_clear()


@pytest.mark.parametrize("name", GOLDEN)
def test_networks_and_trials_keep_their_identity(name):
    (values, data), expected = GOLDEN[name]
    study = study_of(**values)
    found = cells(study, data)
    ids = [trial.id for cell in found for trial in (tuning_trial(study, cell, 0), final_trial(study, cell, 0.5, 1))]
    first, last = found[0].architecture, found[-1].architecture
    together = hashlib.sha256(" ".join(ids).encode()).hexdigest()[:16]
    assert (first.label, str(last), ids[0], ids[-1], together) == expected


def test_a_linear_net_is_a_fully_connected_one_without_activation():
    linear, plain = (
        Architecture(family, (5,), 3, 2, 7, activation="linear") for family in ("linear", "fully_connected")
    )
    assert (linear.label, linear.parameter_shapes) == (plain.label, plain.parameter_shapes)
    inputs = torch.randn(11, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(build(linear, seed=3)(inputs), build(plain, seed=3)(inputs))
    assert Architecture("linear", (5,), 3, 2, 7).activation == "linear"
    with pytest.raises(InputError, match="activation 'relu' in family 'linear'; expected linear: leave it out"):
        Architecture("linear", (5,), 3, 2, 7, activation="relu")


@pytest.mark.parametrize("family", FAMILIES)
def test_counting_on_the_built_network_agrees_with_the_closed_form(family):
    from batchscope.architectures.counting import count_tensors

    shape = (3, 19, 23) if FAMILIES[family].takes_images else (13,)
    net = Architecture(family, shape, 5, depth=2, width=7)
    shapes, kind = (net.input_shape, net.output_shape), net.kind
    assert count_tensors(lambda: kind.module(net), *shapes, family, kind.takes_tokens) == kind.parameters(net)


def test_importing_families_needs_no_torch():
    code = (
        "import sys; from batchscope.architectures import Architecture; "
        "Architecture('linear', (5,), 3, 2, 7).num_weights; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_own_family_is_counted_built_and_sized(own_module):
    net = Architecture(f"{own_module}:Skips", (13,), 3, depth=2, width=5)
    assert net.num_weights == 13 * 5 + 2 * 25 + 5 * 3
    assert net.num_parameters == net.num_weights + 5 + 2 * 5 + 3
    assert net.label == "Skips 13-5x2-3 relu"
    sized = Architecture.within_budget(f"{own_module}:Skips", (13,), 3, depth=2, budget=300)
    counts = {width: Architecture(sized.family, (13,), 3, 2, width).num_parameters for width in range(1, 20)}
    assert sized.width == min(counts, key=lambda width: abs(counts[width] - 300))
    again = build(net, "he", seed=7), build(net, "he", seed=7)
    assert all(torch.equal(a, b) for a, b in zip(*(m.state_dict().values() for m in again), strict=True))


def test_the_operations_of_an_own_convolution_are_counted(own_module):
    net = Architecture(f"{own_module}:Convolutions", (2, 11, 13), 3, depth=1, width=5)
    assert net.multiply_adds == 9 * 2 * 5 * (9 * 11) + 5 * 9 * 11 * 3


def test_a_version_is_part_of_the_identity(own_module):
    ids = []
    for family in ("Skips", "Versioned"):
        study = study_of(family=f"{own_module}:{family}", shapes=[[2, 5]])
        ids.append(tuning_trial(study, cells(study, FLAT)[0], 0).id)
    assert ids[0] != ids[1]


def test_an_instance_serves_too(own_module):
    assert family_named(f"{own_module}:ready").colour == "blue"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("surely_not_here:Net", "no module 'surely_not_here' in .*; put its file beside the study file, start from"),
        ("ownnets.deeper:Net", "no module 'ownnets.deeper'|raised ModuleNotFoundError"),
        ("ownnets:Skip5", "the module 'ownnets' has no 'Skip5'; check the name after the colon"),
        (
            "ownnets:number",
            r"is a int: expected a function of \(depth, width, input_shape, d_out\) .*, or a subclass of",
        ),
        ("ownnets:Skip", r"takes \(width\); expected a function of \(depth, width, input_shape, d_out\) that returns"),
        ("ownnets:NeedsArguments", "expected a class that needs no arguments, or an instance"),
        ("ownbroken:Net", "importing 'ownbroken' raised ZeroDivisionError: division by zero"),
        ("ownmissing:Net", "importing 'ownmissing' raised ModuleNotFoundError: No module named 'surely_not_installed'"),
        (":Net", "expected package.module:name"),
        ("fully_conected", "did you mean 'fully_connected'. One of your own is named package.module:name"),
    ],
)
def test_a_family_that_is_none_is_one_message(own_module, name, message):
    with pytest.raises(InputError, match=message) as caught:
        study_of(family=name, shapes=[[1, 2]])
    assert "\n" not in str(caught.value)


def test_a_family_whose_outputs_do_not_fit_is_refused(own_module):
    with pytest.raises(InputError, match=r"made a module from \(1, 13\) to \(1, 13\); expected \(1, 3\)"):
        _ = Architecture(f"{own_module}:Twisted", (13,), 3, 1, 1).num_parameters


def test_the_budget_of_a_linear_study_counts_weights():
    net = Architecture.within_budget("linear", (13,), 3, 3, 300)
    assert net.width == solve_width(300, 3, 13, 3)


@pytest.mark.parametrize("bias", [True, False])
def test_skips_and_layer_norms_are_what_their_formulas_say(bias):
    inputs = torch.randn(11, 2, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for family in ("resmlp", "mlp_layer_norm"):
        net = Architecture(family, (2, 5), 3, depth=3, width=7, activation="tanh", bias=bias)
        module = build(net, seed=2, dtype=torch.float64)
        assert {name: tuple(p.shape) for name, p in module.named_parameters()} == net.parameter_shapes
        state, hidden = module.state_dict(), inputs.flatten(1)

        def affine(name, x, state=state):
            return x @ state[f"{name}.weight"].T + state.get(f"{name}.bias", 0.0)

        for layer in range(3):
            z = affine(f"{layer}.0", hidden)
            if family == "mlp_layer_norm":
                hidden = ((z - z.mean(1, keepdim=True)) / (z.var(1, correction=0, keepdim=True) + 1e-5).sqrt()).tanh()
            else:
                hidden = z.tanh() + (hidden if layer else 0.0)
        torch.testing.assert_close(module(inputs), affine("3", hidden), rtol=1e-12, atol=1e-12)
        equal = Architecture("fully_connected", (2, 5), 3, depth=3, width=7, bias=bias)
        assert net.num_weights == equal.num_weights


def test_variants_have_the_widths_of_fully_connected_nets():
    widths = {
        Architecture.within_budget(family, (784,), 10, 5, 16_000).width
        for family in ("fully_connected", "resmlp", "mlp_layer_norm")
    }
    assert widths == {18}


@pytest.mark.parametrize(
    ("family", "sizes"), [("mlp_wide_first", (10, 14, 7, 7, 3)), ("mlp_wide_middle", (10, 7, 28, 7, 3))]
)
@pytest.mark.parametrize("bias", [True, False])
def test_one_wide_layer_is_a_chain_of_layers_of_these_sizes(family, sizes, bias):
    net = Architecture(family, (2, 5), 3, depth=3, width=7, activation="tanh", bias=bias)
    module = build(net, seed=2, dtype=torch.float64)
    assert {name: tuple(p.shape) for name, p in module.named_parameters()} == net.parameter_shapes
    assert net.num_weights == sum(a * b for a, b in itertools.pairwise(sizes))
    assert net.label == f"{'-'.join(map(str, sizes))} tanh"
    inputs = torch.randn(11, 2, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    hidden, state = inputs.flatten(1), module.state_dict()
    for layer in range(4):
        hidden = hidden @ state[f"{2 * layer}.weight"].T + state.get(f"{2 * layer}.bias", 0.0)
        hidden = hidden.tanh() if layer < 3 else hidden
    torch.testing.assert_close(module(inputs), hidden, rtol=1e-12, atol=1e-12)


def test_the_other_layers_pay_for_the_wide_one():
    plain, first, middle = (
        Architecture.within_budget(family, (784,), 10, 5, 16_000)
        for family in ("fully_connected", "mlp_wide_first", "mlp_wide_middle")
    )
    assert first.width < middle.width < plain.width
    for net in (first, middle):
        assert net.num_weights == pytest.approx(16_000, rel=0.05)
