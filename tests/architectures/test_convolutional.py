"""LeNet and residual nets: closed-form counts, budgets, and torchvision's names and shapes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from batchscope.architectures import FAMILIES, Architecture, build, lenet, resnet
from batchscope.architectures.architecture import NORMS
from batchscope.architectures.lenet import count_parameters as count_lenet
from batchscope.architectures.resnet import BLOCKS
from batchscope.architectures.resnet import count_parameters as count_resnet
from batchscope.errors import InputError

MNIST, CIFAR = (1, 28, 28), (3, 32, 32)
# The shapes of the paper: family -> (examples, budget, depths).
PAPER = {
    "lenet": (MNIST, 431_080, range(1, 11)),
    "resnet18_head": (CIFAR, 11_300_000, range(1, 11)),
    "resnet18_blocks": (CIFAR, 11_173_962, range(1, 6)),
    "resnet34_blocks": (CIFAR, 21_282_122, range(1, 6)),
}
CASES = [(family, depth) for family, (_, _, depths) in PAPER.items() for depth in depths]


@pytest.mark.parametrize(("family", "depth"), CASES)
def test_paper_shapes_are_within_one_percent_of_the_budget_and_counted_exactly(family: str, depth: int) -> None:
    shape, budget, _ = PAPER[family]
    net = Architecture.within_budget(family, shape, 10, depth, budget)
    with torch.device("meta"):
        module = FAMILIES[family].module(net)
    shapes = {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}
    assert shapes == net.parameter_shapes
    assert list(shapes) == list(net.parameter_shapes)
    assert net.num_parameters == sum(parameter.numel() for parameter in module.parameters())
    assert abs(net.num_parameters / budget - 1) < 0.01


@pytest.mark.parametrize("name", ["resnet18", "resnet34"])
def test_standard_nets_have_torchvisions_names_and_shapes(name: str) -> None:
    """The list was written from torchvision's definition (its stem's kernel 3 x 3, 10 classes), not from ours."""
    expected = json.loads((Path(__file__).parent / "torchvision_state.json").read_text())[name]
    with torch.device("meta"):
        state = resnet(BLOCKS[name]).state_dict()
    assert {key: list(value.shape) for key, value in state.items()} == expected
    assert list(state) == list(expected)


def test_lenet_counts() -> None:
    assert count_lenet() == 431_080
    assert Architecture.within_budget("lenet", MNIST, 10, 1, 431_080).width == 500
    for depth, width, shape in ((1, 7, MNIST), (3, 11, CIFAR), (2, 5, (2, 17, 19))):
        module = lenet(depth, width, 13, shape)
        assert sum(p.numel() for p in module.parameters()) == count_lenet(depth, width, 13, shape)
        assert module(torch.zeros(3, *shape)).shape == (3, 13)


@pytest.mark.parametrize("blocks", [(1, 1, 1, 1), (2, 3, 1), (1, 2)])
@pytest.mark.parametrize("norm", NORMS)
def test_residual_counts_for_any_blocks(blocks: tuple[int, ...], norm: str) -> None:
    module = resnet(blocks, 6, 7, norm=norm, channels=2)
    assert sum(p.numel() for p in module.parameters()) == count_resnet(blocks, 6, 7, channels=2)
    assert module(torch.zeros(5, 2, 16, 16)).shape == (5, 7)


def test_multiply_adds_are_those_of_the_forward_pass() -> None:
    """Counted independently: every convolution's and linear layer's weights times the places it writes to."""
    for family, shape in (("lenet", MNIST), ("resnet18_blocks", CIFAR), ("resnet18_head", CIFAR)):
        net = Architecture(family, shape, 10, *((1, 6) if family != "lenet" else (2, 11)))
        counted = 0

        def count(module: torch.nn.Module, _: object, output: torch.Tensor) -> None:
            nonlocal counted
            counted += module.weight.numel() * output[0, 0].numel()  # type: ignore[operator]

        module = build(net)
        for layer in module.modules():
            if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
                layer.register_forward_hook(count)
        module(torch.zeros(1, *shape))
        assert net.multiply_adds == counted


def test_the_same_seed_gives_the_same_network_and_gains_start_at_one() -> None:
    net = Architecture("resnet18_blocks", CIFAR, 10, 1, 4, norm="group_norm")
    one, other, third = (build(net, "he", seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not torch.equal(one["conv1.weight"], third["conv1.weight"])
    assert torch.equal(one["bn1.weight"], torch.ones(4))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"family": "lenet", "input_shape": (1, 8, 8)}, "at least 16 x 16"),
        ({"family": "lenet", "input_shape": (784,)}, "expected images"),
        ({"family": "resnet18_blocks", "input_shape": (784,)}, "expected images"),
        ({"family": "resnet18_blocks", "input_shape": CIFAR, "activation": "tanh"}, "expected relu"),
        ({"family": "lenet", "input_shape": MNIST, "norm": "batch_norm"}, "expected none"),
        ({"family": "resnet18_head", "input_shape": CIFAR, "norm": "layer"}, "expected batch_norm or group_norm"),
        ({"family": "lenet", "input_shape": MNIST, "filters": 8}, "leave it out"),
        ({"family": "resnet50", "input_shape": CIFAR}, "resnet"),
    ],
)
def test_impossible_networks_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Architecture(d_out=10, depth=1, width=5, **values)  # type: ignore[arg-type]


def test_a_budget_below_the_convolutions_is_refused() -> None:
    with pytest.raises(InputError, match="leaves nothing"):
        Architecture.within_budget("resnet18_head", CIFAR, 10, 1, 11_000_000)
