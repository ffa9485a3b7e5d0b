"""The family gpt: causal, counted, measured exactly sequence by sequence."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from batchscope.architectures import Architecture, build
from batchscope.gradients import measure
from batchscope.training.modules.scoring import num_correct, per_example

NET = Architecture("gpt", (13,), 11, depth=2, width=24)


def tokens(count=5):
    return torch.randint(0, 11, (count, 13), generator=torch.Generator().manual_seed(0))


def test_a_token_does_not_see_those_after_it():
    module, inputs = build(NET, "as_made", 1, torch.float64), tokens()
    changed = inputs.clone()
    changed[:, 7:] = (changed[:, 7:] + 1) % 11
    one, other = module(inputs), module(changed)
    assert torch.equal(one[:, :7], other[:, :7])
    assert not torch.allclose(one[:, 7:], other[:, 7:])


def test_parameters_and_multiplications_are_those_of_the_formulas():
    """V K + T K + L (12 K² + 13 K) + 2 K where heads divide the width; attention is left out by PyTorch's counter on
    the CPU, T² products of 24 units twice in each block."""
    assert NET.num_parameters == 11 * 24 + 13 * 24 + 2 * (12 * 24**2 + 13 * 24) + 2 * 24
    with FlopCounterMode(display=False) as flops:
        build(NET, "as_made")(tokens(1))
    assert NET.multiply_adds == flops.get_total_flops() // 2 + 2 * 2 * 13**2 * 24
    assert [Architecture.within_budget("gpt", (64,), 28, depth, 12_000).width for depth in (1, 2, 4)] == [27, 20, 14]


def test_gradient_diversity_is_that_of_sequences():
    module, inputs, targets = build(NET, "as_made", 2, torch.float64), tokens(), tokens().flip(1)
    gradients = []
    for x, y in zip(inputs.split(1), targets.split(1), strict=True):
        found = torch.autograd.grad(per_example(module(x), y).sum(), list(module.parameters()))
        gradients.append(torch.cat([gradient.flatten() for gradient in found]))
    report = measure(module, per_example, (inputs, targets))
    assert report.sum_sq_norms == pytest.approx(float(sum(g.square().sum() for g in gradients)), rel=1e-9)
    assert report.sq_norm_sum == pytest.approx(float(sum(gradients).square().sum()), rel=1e-9)


def test_the_loss_is_the_mean_over_tokens_in_nats_and_accuracy_counts_tokens():
    outputs = torch.zeros(5, 13, 11)
    assert torch.allclose(per_example(outputs, tokens()), torch.full((5,), 11.0).log())
    right = torch.nn.functional.one_hot(tokens(), 11).float()
    right[0, :6] = 0
    right[0, :6, (tokens()[0, 0] + 1) % 11] = 1
    wrong = (right.argmax(-1) != tokens()).sum().item()
    assert num_correct(right, tokens()).item() == pytest.approx(5 - wrong / 13)
