"""Machine and sizes choose among forms of a step and of an evaluation: all give the same."""

import math
from dataclasses import replace

import pytest
import torch

from batchscope.training.stacked import net, product_order
from batchscope.training.stacked.targets import num_correct
from tests.training.networks import SETTINGS
from tests.training.small_cohorts import GRID, SEEDS, architecture, assert_same, classes, plain_loop, run


@pytest.fixture(params=[False, True], ids=["examples first", "units first"])
def order(request, monkeypatch):
    """Whoever made this machine's processor."""
    monkeypatch.setattr(product_order, "_is_amd", lambda: request.param)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("blocked", [False, True], ids=["whole", "by blocks"])
@pytest.mark.parametrize("members", [GRID, SEEDS], ids=["grid", "seeds"])
@pytest.mark.usefixtures("order")
def test_every_order_of_products_equals_the_plain_loop(members, blocked, bias, monkeypatch):
    monkeypatch.setattr(net, "BLOCK", 5)
    # Bytes between those of the last batch of an epoch, which has six examples, and those of the others.
    monkeypatch.setattr(net, "BLOCKED_FROM", 9 * 3 * 64 * 8 if blocked else 10**9)
    dataset, settings = classes(), replace(SETTINGS, momentum=0.9)
    cohort = run(dataset, architecture(dataset, bias=bias), settings, members)
    for index, member in enumerate(members):
        expected = plain_loop(dataset, architecture(dataset, bias=bias), settings, member)
        assert_same(cohort.engine.stack.member(index), expected)


@pytest.mark.parametrize("maker", ["AuthenticAMD", "GenuineIntel"])
@pytest.mark.parametrize("system", ["linux", "another"])
def test_the_order_follows_the_maker_of_the_processor_and_nothing_else(maker, system, tmp_path, monkeypatch):
    if system == "linux":
        (tmp_path / "cpuinfo").write_text(f"processor : 0\nvendor_id : {maker}\n")
    monkeypatch.setattr(product_order, "CPU_INFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(product_order.platform, "processor", lambda: f"Family 25, {maker}")
    product_order._is_amd.cache_clear()
    try:
        assert product_order.examples_first(torch.device("cpu")) == (maker == "GenuineIntel")
        assert product_order.examples_first(torch.device("cuda"))
    finally:
        product_order._is_amd.cache_clear()


@pytest.mark.parametrize("labels", [(40,), (3, 40)], ids=["shared", "own"])
@pytest.mark.parametrize("values", [(0.0, 1.0), (0.0, 1.0, math.nan), (-math.inf, 0.0, math.inf)], ids=repr)
def test_correct_answers_are_those_of_argmax_with_ties_too(values, labels):
    draw = torch.Generator().manual_seed(4)
    chosen = torch.tensor(values)[torch.randint(0, len(values), (3, 4, 40), generator=draw)]
    right = torch.randint(0, 4, labels, generator=draw)
    distinct = torch.rand(3, 4, 40, generator=draw)
    for outputs in (chosen, distinct, distinct.double()):
        assert num_correct(outputs, right).tolist() == (outputs.argmax(1) == right).sum(-1).tolist()


def test_one_output_is_always_right():
    assert num_correct(torch.zeros(2, 1, 5), torch.zeros(5, dtype=torch.int64)).tolist() == [5, 5]
