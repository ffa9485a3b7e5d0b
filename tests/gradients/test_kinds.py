"""Moments by kind and by block: partitions of the total, and the right place for every parameter."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from batchscope.architectures import lenet, resnet
from batchscope.errors import InputError
from batchscope.gradients import Moments, measure
from batchscope.gradients import parts as kinds
from tests.gradients.gradient_models import GPT, ViT, token_loss


def places_of(model):
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    classes = {name: [c.__name__ for c in type(module).__mro__] for name, module in model.named_modules()}
    return kinds.places(shapes, classes)


def kinds_of(model):
    return {name: place.kind for name, place in places_of(model).items()}


def blocks_of(model):
    return list(dict.fromkeys(place.block for place in places_of(model).values()))


def reports():
    generator = torch.Generator().manual_seed(3)
    images = torch.randn(5, 3, 17, 17, generator=generator, dtype=torch.float64)
    tokens = torch.randint(0, 11, (2, 7, 5), generator=generator)
    torch.manual_seed(0)
    residual = resnet((1, 2, 1), 4, 7, norm="group_norm", head=(5,)).double()
    digits = torch.randn(5, 1, 28, 28, generator=generator, dtype=torch.float64)
    targets = torch.tensor([0, 3, 6, 1, 3])
    return {
        "resnet": measure(residual, F.cross_entropy, (images, targets)),
        "lenet": measure(lenet(3, 7, 7).double(), F.cross_entropy, (digits, targets)),
        "gpt": measure(GPT(11, 5, 6, 2, 2, tied=True, conv1d=True).double(), token_loss, (tokens[0], tokens[1])),
        "vit": measure(ViT().double(), F.cross_entropy, (images[..., :6, :6], targets)),
    }


@pytest.fixture(scope="module")
def measured():
    return reports()


@pytest.mark.parametrize("net", ["resnet", "lenet", "gpt", "vit"])
@pytest.mark.parametrize("grouping", ["by_kind", "by_block", "by_block_and_kind"])
def test_groups_are_a_partition(measured, net, grouping):
    report = measured[net]
    parts = getattr(report, grouping).values()
    names = [name for part in parts for name in part.parameters]
    assert sorted(names) == sorted(report.by_parameter)
    assert sum(part.sum_sq_norms for part in parts) == pytest.approx(report.sum_sq_norms, rel=1e-12)
    assert sum(part.sq_norm_sum for part in parts) == pytest.approx(report.sq_norm_sum, rel=1e-12)
    assert sum(part.share for part in parts) == pytest.approx(1, rel=1e-12)
    assert sum(part.num_parameters for part in parts) == sum(place.size for place in report.places.values())
    mean = sum(part.sq_norm_sum * part.batch_size_bound for part in parts) / report.sq_norm_sum
    assert mean == pytest.approx(report.batch_size_bound, rel=1e-12)  # weighted by Q, as the module's docstring says


def test_a_part_holds_the_moments_of_its_parameters(measured):
    report = measured["lenet"]
    part, own = report.by_block["conv2"], [report.by_parameter[f"conv2.{name}"] for name in ("weight", "bias")]
    assert part.num_parameters == 50 * (20 * 25 + 1)
    assert part.sum_sq_norms == pytest.approx(own[0].sum_sq_norms + own[1].sum_sq_norms, rel=1e-12)
    expected = 5 * part.sum_sq_norms / (own[0].sq_norm_sum + own[1].sq_norm_sum)
    assert part.batch_size_bound == pytest.approx(expected, rel=1e-12)
    assert part.share == pytest.approx(part.sum_sq_norms / report.sum_sq_norms, rel=1e-12)
    assert report.by_module["conv2"].gradient_diversity == pytest.approx(part.gradient_diversity, rel=1e-12)


def test_lenet():
    net = lenet(2, 7)
    assert blocks_of(net) == ["conv1", "conv2", "fc.0", "fc.2", "fc.4"]
    owners = {name.rpartition(".")[0]: kind for name, kind in kinds_of(net).items()}
    assert owners == {
        "conv1": kinds.STEM, "conv2": kinds.CONVOLUTION,
        "fc.0": kinds.FULLY_CONNECTED, "fc.2": kinds.FULLY_CONNECTED, "fc.4": kinds.HEAD,
    }  # fmt: skip


@pytest.mark.parametrize("norm", ["batch_norm", "group_norm"])
def test_resnet18(norm):
    net = resnet(filters=8, norm=norm)
    chunks = [f"layer{chunk}.{block}" for chunk in range(1, 5) for block in range(2)]
    assert blocks_of(net) == ["stem", *chunks, "fc"]
    found = kinds_of(net)
    assert found["conv1.weight"] == kinds.STEM
    assert found["bn1.weight"] == found["layer3.1.bn2.bias"] == kinds.NORMALISATION
    assert found["layer2.0.downsample.0.weight"] == found["layer2.0.downsample.1.bias"] == kinds.SHORTCUT
    assert found["layer1.0.conv1.weight"] == found["layer4.1.conv2.weight"] == kinds.CONVOLUTION
    assert found["fc.weight"] == found["fc.bias"] == kinds.HEAD
    assert sum(kind == kinds.SHORTCUT for kind in found.values()) == 3 * 3
    assert sum(kind == kinds.CONVOLUTION for kind in found.values()) == 2 * 8


def test_resnet34_with_a_fully_connected_part():
    net = resnet((3, 4, 6, 3), 2, head=(5, 3))
    assert blocks_of(net)[-4:] == ["layer4.2", "fc.0", "fc.2", "fc.4"]
    assert len(blocks_of(net)) == 1 + 16 + 3
    found = kinds_of(net)
    assert [found[f"fc.{i}.weight"] for i in (0, 2, 4)] == [kinds.FULLY_CONNECTED] * 2 + [kinds.HEAD]


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("conv1d", [True, False])
def test_gpt(tied, conv1d):
    net = GPT(11, 5, 6, 2, 3, tied=tied, conv1d=conv1d)
    assert blocks_of(net) == ["stem", "h.0", "h.1", "h.2", "ln_f"] + ["lm_head"] * (not tied)
    found = kinds_of(net)
    assert found["wte.weight"] == found["wpe.weight"] == kinds.EMBEDDING
    assert found["h.1.c_attn.weight"] == kinds.ATTENTION
    assert found["h.1.c_fc.bias"] == kinds.FULLY_CONNECTED
    assert found["h.2.ln_1.weight"] == found["ln_f.bias"] == kinds.NORMALISATION
    if not tied:
        assert found["lm_head.weight"] == kinds.HEAD


def test_transformer_layers_and_bare_tables():
    found = kinds_of(ViT())
    assert found["cls"] == found["positions"] == kinds.EMBEDDING
    assert found["patches.weight"] == kinds.STEM
    assert found["encoder.self_attn.in_proj_weight"] == found["encoder.self_attn.out_proj.bias"] == kinds.ATTENTION
    assert found["encoder.norm1.weight"] == kinds.NORMALISATION
    assert found["head.weight"] == kinds.HEAD
    layers = nn.TransformerEncoder(nn.TransformerEncoderLayer(6, 2, 11), 2, enable_nested_tensor=False)
    assert blocks_of(layers) == ["layers.0", "layers.1"]
    assert kinds.HEAD not in kinds_of(layers).values()  # the last layer belongs to a block


def test_other_networks():
    vgg = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.Conv2d(5, 7, 3), nn.Flatten())
    assert list(kinds_of(vgg).values()) == [kinds.STEM] * 2 + [kinds.NORMALISATION] * 2 + [kinds.CONVOLUTION] * 2
    backbone_and_head = nn.Sequential(resnet((1, 1), 3), nn.Linear(10, 2))
    assert blocks_of(backbone_and_head) == ["stem", "0.layer1.0", "0.layer2.0", "0.fc", "1"]
    stages = nn.Sequential(*[child for child in resnet((2, 1), 3).children() if not isinstance(child, nn.Linear)])
    assert blocks_of(stages) == ["stem", "2.0", "2.1", "3.0"]
    recurrent = nn.ModuleDict({"embed": nn.Embedding(7, 3), "rnn": nn.LSTM(3, 5), "out": nn.Linear(5, 7)})
    assert set(kinds_of(recurrent).values()) == {kinds.EMBEDDING, kinds.RECURRENT, kinds.HEAD}
    normed = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv1d(3, 5, 2)), nn.Flatten(), nn.Linear(5, 2))
    assert kinds_of(normed)["0.parametrizations.weight.original0"] == kinds.STEM
    assert blocks_of(normed) == ["0", "2"]

    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.gain = nn.Parameter(torch.ones(3))

    assert kinds_of(Scale()) == {"gain": kinds.OTHER}
    assert blocks_of(Scale()) == ["gain"]


def test_a_frozen_parameter_has_no_place():
    net = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    net[0].requires_grad_(False)
    report = measure(net, F.cross_entropy, (torch.randn(7, 3), torch.randint(0, 2, (7,))))
    assert list(report.by_kind) == [kinds.HEAD]


def test_the_text_has_a_row_for_every_part_and_the_total(measured):
    report = measured["resnet"]
    for by, parts in (("kind", report.by_kind), ("block", report.by_block)):
        lines = report.text(by).splitlines()
        assert [line.split("  ")[0] for line in lines[1:]] == [by, *parts, "total"]
        assert f"{report.batch_size_bound:.6g}" in lines[-1]
    assert str(report) == report.text("module")
    with pytest.raises(InputError, match="did you mean 'block'"):
        report.text("blok")


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e6), st.sampled_from("abc")), min_size=1, max_size=13))
def test_any_grouping_adds_up(values):
    by_parameter = {f"p{i}": Moments(11, s1, q) for i, (s1, q, _) in enumerate(values)}
    where = {f"p{i}": kinds.Place("", i + 1, group, group) for i, (_, _, group) in enumerate(values)}
    parts = kinds.parts(by_parameter, where, lambda place: place.kind)
    total = Moments.add(11, by_parameter.values())
    assert sum(part.sum_sq_norms for part in parts.values()) == pytest.approx(total.sum_sq_norms, rel=1e-12)
    assert sum(part.num_parameters for part in parts.values()) == len(values) * (len(values) + 1) // 2
    shares = sum(part.share for part in parts.values())
    assert shares == pytest.approx(1, rel=1e-12) if total.sum_sq_norms else math.isnan(shares)


def test_an_unmeasured_parameter_leaves_the_other_parts_whole():
    by_parameter = {"a.weight": Moments(3, math.nan, math.nan), "b.weight": Moments(3, 2.0, 3.0)}
    where = {name: kinds.Place(name[0], 1, name[0], name[0]) for name in by_parameter}
    parts = kinds.by_block(by_parameter, where)
    assert math.isnan(parts["a"].batch_size_bound)
    assert math.isnan(parts["b"].share)
    assert parts["b"].batch_size_bound == 2
