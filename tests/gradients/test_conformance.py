"""`check_rule` accepts right rules and finds wrong ones."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from batchscope.errors import InputError, MeasurementError
from batchscope.gradients.conformance import check_rule
from tests.gradients.broken_rules import broken_rule

RIGHT = {
    "linear": lambda: (nn.Linear(5, 3), torch.randn(7, 2, 5)),
    "convolution": lambda: (nn.Conv2d(4, 6, 3, groups=2), torch.randn(7, 4, 5, 5)),
    "embedding": lambda: (nn.Embedding(5, 3, padding_idx=0), torch.randint(0, 5, (7, 11))),
    "layer norm": lambda: (nn.LayerNorm(5), torch.randn(7, 2, 5)),
    "LSTM": lambda: (nn.LSTM(5, 3, batch_first=True), torch.randn(7, 2, 5)),
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_rules_pass(name):
    module, inputs = RIGHT[name]()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    check_rule(module, inputs)
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


def test_a_fallback_is_not_a_rule():
    inputs = (torch.randn(7, 5), torch.randn(7, 2))
    with pytest.raises(MeasurementError, match="fallback"):
        check_rule(nn.Bilinear(5, 2, 3), inputs)
    assert check_rule(nn.Bilinear(5, 2, 3), inputs, allow_fallback=True).num_examples == 7


def test_a_wrong_rule_is_found():
    with broken_rule(F.linear, 1.01), pytest.raises(MeasurementError, match="rule wrong"):
        check_rule(nn.Linear(5, 3), torch.randn(7, 2, 5))


def test_too_few_examples():
    with pytest.raises(InputError, match="expected more than 5"):
        check_rule(nn.Linear(5, 3), torch.randn(5, 5))
