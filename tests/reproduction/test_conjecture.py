"""The simulation of the conjecture: its networks are the theory's, and its gradients are those of autograd."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import batchscope as bs
from reproduction import conjecture


def test_two_layer_linear_nets_concentrate_and_deep_narrow_ones_do_not():
    rng = np.random.default_rng(3)
    rho = bs.theory.chen2018.diversity_ratio
    wide = np.mean([conjecture.linear_bound(80, 2, rng) for _ in range(200)])
    narrow = np.mean([conjecture.linear_bound(5, 10, rng) for _ in range(200)])
    assert wide == pytest.approx(rho((100, 80, 1)), rel=0.05)
    assert narrow > 2 * rho((100, *(5,) * 9, 1))


def test_the_tanh_nets_bound_is_the_measured_one(monkeypatch):
    monkeypatch.setattr(conjecture, "EXAMPLES", 23)
    monkeypatch.setattr(conjecture, "D", 7)
    found = conjecture.tanh_bound(5, np.random.default_rng(11))
    rng = np.random.default_rng(11)
    x = torch.from_numpy(rng.standard_normal((23, 7)))
    weights = [torch.from_numpy(rng.standard_normal(shape)) for shape in ((5, 7), 5, (5, 7), 5)]
    model = torch.nn.Sequential(torch.nn.Linear(7, 5, bias=False), torch.nn.Tanh(), torch.nn.Linear(5, 1, bias=False))
    model = model.double()
    model.load_state_dict({"0.weight": weights[0], "2.weight": weights[1][None]})
    targets = torch.tanh(x @ weights[2].T) @ weights[3]
    report = bs.measure(model, lambda outputs, y: (outputs[:, 0] - y) ** 2 / 2, (x, targets))
    assert found == pytest.approx(report.batch_size_bound, rel=1e-10)
