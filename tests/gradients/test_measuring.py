"""`measure` against the definition, on every kind of model, in float64."""

import pytest
import torch

from batchscope.gradients import measure, oracle, per_example_sq_norms
from tests.gradients.gradient_models import CASES, Case

EXACT = {"rel": 1e-9, "abs": 1e-12}


def ids(case: Case) -> str:
    return case.name


@pytest.mark.parametrize("case", CASES, ids=ids)
@pytest.mark.parametrize("num_examples", [11, 2, 1])
def test_measure_agrees_with_the_loop(case, num_examples):
    model, loss, inputs, targets = case.make(num_examples)
    report = measure(model, loss, (inputs, targets))
    truth = oracle.moments(model, loss, inputs, targets)
    assert list(report.by_parameter) == list(truth)
    for name, (sum_sq_norms, sq_norm_sum) in truth.items():
        assert report.by_parameter[name].sum_sq_norms == pytest.approx(sum_sq_norms, **EXACT), name
        assert report.by_parameter[name].sq_norm_sum == pytest.approx(sq_norm_sum, **EXACT), name
    if num_examples > 2:
        assert bool(report.coverage.fallbacks) == case.slow_ways, str(report.coverage)


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_norms_of_each_example(case):
    model, loss, inputs, targets = case.make(5)
    truth = sum(
        g.flatten(1).square().sum(1) for g in oracle.per_example_gradients(model, loss, inputs, targets).values()
    )
    torch.testing.assert_close(per_example_sq_norms(model, loss, inputs, targets), truth, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_no_examples(case):
    model, loss, inputs, targets = case.make(0)
    report = measure(model, loss, (inputs, targets))
    assert report.num_examples == 0
    assert report.sum_sq_norms == report.sq_norm_sum == 0
    assert per_example_sq_norms(model, loss, inputs, targets).shape == (0,)
