"""Every kernel gives what forming per-example gradients gives, whole and in chunks; the planner keeps its promises."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from batchscope.gradients.backward.planner import Planner
from batchscope.gradients.kernels import candidates
from batchscope.gradients.rules.lazy_gradients import Dense, Factors, LookedUpRows, Patches

sizes = st.integers(1, 7)


def check(use):
    """All kernels of `use` against its dense gradients, for every chunk size that matters."""
    dense = use.dense(slice(0, use.num_examples))
    norms, total = dense.flatten(1).square().sum(1), dense.sum(0)
    for kernel in candidates(use):
        for chunk in {1, 2, use.num_examples}:
            found = kernel.run(use, chunk)
            torch.testing.assert_close(found[0], norms, rtol=1e-10, atol=1e-12, msg=f"{kernel.name}: norms")
            torch.testing.assert_close(found[1], total, rtol=1e-10, atol=1e-12, msg=f"{kernel.name}: sum")
            alone = kernel.norms(use, chunk)
            torch.testing.assert_close(alone, norms, rtol=1e-10, atol=1e-12, msg=f"{kernel.name}: norms alone")


@given(sizes, sizes, sizes, sizes, st.integers(0, 9))
def test_products(n, t, p, d, seed):
    generator = torch.Generator().manual_seed(seed)
    left = torch.randn(n, t, p, generator=generator, dtype=torch.float64)
    check(Factors(left, torch.randn(n, t, d, generator=generator, dtype=torch.float64), (p, d)))


@given(sizes, sizes, sizes, sizes, st.integers(0, 9))
def test_rows(n, t, rows, d, seed):
    generator = torch.Generator().manual_seed(seed)
    index = torch.randint(0, rows, (n, t), generator=generator)
    check(LookedUpRows(index, torch.randn(n, t, d, generator=generator, dtype=torch.float64), (rows, d)))


@given(sizes, sizes, sizes)
def test_dense(n, p, d):
    check(Dense(torch.randn(n, p, d, dtype=torch.float64)))


@given(
    n=st.integers(1, 3), c=st.integers(1, 3), p=st.integers(1, 3), groups=st.integers(1, 2), dims=st.integers(1, 3),
    size=st.integers(3, 5), k=st.integers(1, 3), stride=st.integers(1, 2), padding=st.integers(0, 2),
    dilation=st.integers(1, 2), seed=st.integers(0, 9),
)  # fmt: skip
def test_patches(n, c, p, groups, dims, size, k, stride, padding, dilation, seed):
    if size + 2 * padding < dilation * (k - 1) + 1:
        return
    torch.manual_seed(seed)
    inputs = torch.randn(n, c * groups, *range(size, size + dims), dtype=torch.float64)
    weight = torch.randn(p * groups, c, *[k] * dims, dtype=torch.float64)
    convolve = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[dims]
    grads = torch.randn_like(convolve(inputs, weight, None, stride, padding, dilation, groups))
    each = [(value,) * dims for value in (stride, padding, dilation)]
    check(Patches(grads, inputs, tuple(weight.shape), *each, groups))


def large_use(kind):
    """A float32 Use of a weight with more than two million entries, one example; positive, so that nothing cancels."""

    def random(*shape):
        return torch.rand(shape, generator=torch.Generator().manual_seed(sum(shape)))

    if kind == "rows":
        return LookedUpRows(torch.arange(2053).unsqueeze(0), random(1, 2053, 1031), (2053, 1031))
    if kind == "patches":
        geometry = (512, 512, 3, 3), (1, 1), (1, 1), (1, 1), 1
        return Patches(random(1, 512, 2, 3), random(1, 512, 3, 2).mT, *geometry)
    if kind == "dense":
        return Dense(random(1, 2053, 1031))
    positions = 1 if kind == "row" else 3
    return Factors(random(1, positions, 1451), random(1, positions, 1447), (1451, 1447))


@pytest.mark.parametrize("kind", ["row", "positions", "patches", "rows", "dense"])
def test_kernels_keep_float32_accuracy_on_layers_of_millions_of_weights(kind):
    use = large_use(kind)
    wide = {name: v.double() if name in ("left", "right", "grads", "inputs") else v for name, v in vars(use).items()}
    (gradient,) = type(use)(**wide).dense(slice(0, 1))
    for kernel in candidates(use):
        norms, total = kernel.run(use, 1)
        assert float(norms) == pytest.approx(float(gradient.square().sum()), rel=1e-5), kernel.name
        assert float((total - gradient).norm()) <= 1e-5 * float(gradient.norm()), kernel.name


def test_the_planner_stays_within_its_budget_and_keeps_its_choice():
    use = Factors(torch.randn(13, 11, 7), torch.randn(13, 11, 5), (7, 5))
    planner = Planner(memory_budget=2048)
    (norms, _), choice = planner.run(use)
    assert choice.scratch_bytes <= 2048
    assert planner.run(use)[1] is choice
    torch.testing.assert_close(norms, use.dense(slice(0, 13)).flatten(1).square().sum(1))
    tiny = Planner(memory_budget=1)  # nothing fits: the most economical kernel, one example at a time
    torch.testing.assert_close(tiny.run(use)[0][0], norms)


@pytest.mark.parametrize("budget", [1, 10**4, 10**8])
def test_results_do_not_depend_on_the_memory_budget(budget):
    torch.manual_seed(0)
    use = Patches(torch.randn(7, 4, 5, 5), torch.randn(7, 6, 5, 5), (4, 3, 3, 3), (1, 1), (1, 1), (1, 1), 2)
    (norms, total), _ = Planner(budget).run(use)
    dense = use.dense(slice(0, 7))
    torch.testing.assert_close(norms, dense.flatten(1).square().sum(1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(total, dense.sum(0), rtol=1e-4, atol=1e-4)
