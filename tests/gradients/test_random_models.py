"""Random small networks: measured as the loop over examples says, or refused in the library's own words."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from batchscope.errors import BatchscopeError
from batchscope.gradients import measure, oracle
from tests.gradients.random_models import LENGTH, WIDTH, RandomModel

DEFAULT, ALL = range(40), range(40, 560)


def outcome(seed: int) -> str:
    """ "rule", "loop" or "refused"; fails when a number differs from the loop's by more than 1e-8."""
    model = RandomModel(seed)
    batches = [(torch.randn(n, LENGTH, WIDTH).double(), torch.randint(0, 3, (n,))) for n in (5, 4)]
    try:
        report = measure(model, F.cross_entropy, batches)
    except BatchscopeError:
        return "refused"
    whole = tuple(torch.cat(parts) for parts in zip(*batches, strict=True))
    truth = oracle.moments(model, F.cross_entropy, *whole)
    scale = max(s1 for s1, _ in truth.values())
    for name, (s1, q) in truth.items():
        found = report.by_parameter[name]
        allowed = {"rel": 1e-8, "abs": 1e-14 * scale}
        assert found.sum_sq_norms == pytest.approx(s1, **allowed), (seed, name, report.coverage.ways[name])
        assert found.sq_norm_sum == pytest.approx(q, **allowed), (seed, name, report.coverage.ways[name])
    return "loop" if report.coverage.fallbacks else "rule"


def check(seeds: range) -> dict[str, int]:
    outcomes = [outcome(seed) for seed in seeds]
    return {kind: outcomes.count(kind) for kind in ("rule", "loop", "refused")}


@pytest.mark.filterwarnings("ignore")
def test_forty_random_networks():
    found = check(DEFAULT)
    assert found["rule"] > 5  # the generator must not only make what the loop takes
    assert found["refused"] < 5, found


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_more_random_networks():
    found = check(ALL)
    print(found)
    assert found["refused"] <= 0.05 * len(ALL), found
