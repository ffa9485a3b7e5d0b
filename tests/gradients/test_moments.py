"""The record: sums that merge in any order, groups that do not depend on who merged first, refusals."""

import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from batchscope.errors import InputError
from batchscope.gradients.moments import (
    MOST_GROUPS,
    BatchMoments,
    GradientMoments,
    Moments,
    MomentsAccumulator,
    groups_within,
)

SHAPES = {"0.weight": (3, 5), "0.bias": (3,), "scale": ()}
OWNERS = {"0.weight": "0", "0.bias": "0", "scale": ""}


def example_gradients(num_examples: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(num_examples, *shape, generator=generator, dtype=dtype) + 0.3
        for name, shape in SHAPES.items()
    }


def sums(grads: dict[str, Tensor]) -> tuple[int, dict[str, float | Tensor], dict[str, Tensor]]:
    count = len(next(iter(grads.values())))
    return count, {n: g.double().square().sum() for n, g in grads.items()}, {n: g.sum(0) for n, g in grads.items()}


def rows(grads: dict[str, Tensor], index: slice | Tensor) -> dict[str, Tensor]:
    return {name: grad[index] for name, grad in grads.items()}


def record(grads: dict[str, Tensor], group: int | None = None) -> GradientMoments:
    return GradientMoments.from_batch(*sums(grads), group=group)


def split(grads: dict[str, Tensor], sizes: Sequence[int]) -> list[dict[str, Tensor]]:
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return [rows(grads, slice(start, start + size)) for start, size in zip(starts, sizes, strict=True)]


def same(left: GradientMoments, right: GradientMoments) -> bool:
    """Equal up to rounding, groups included."""
    close = left.num_examples == right.num_examples and left.batches.keys() == right.batches.keys()
    pairs = [(left, right), *((left.batches[b], right.batches[b]) for b in left.batches)]
    for a, b in pairs:
        close &= a.num_examples == b.num_examples
        close &= all(math.isclose(a.sum_sq_norms[n], b.sum_sq_norms[n], rel_tol=1e-13) for n in SHAPES)
        close &= all(torch.allclose(a.grad_sums[n], b.grad_sums[n], rtol=1e-12, atol=1e-12) for n in SHAPES)
    return close


def test_against_the_gradients_written_out() -> None:
    grads = example_gradients(7)
    moments = record(grads)
    flat = torch.cat([g.reshape(7, -1) for g in grads.values()], dim=1)
    assert moments.total.sum_sq_norms == pytest.approx(flat.square().sum().item(), rel=1e-13)
    assert moments.total.sq_norm_sum == pytest.approx(flat.sum(0).square().sum().item(), rel=1e-13)
    for name, grad in grads.items():
        assert moments.by_parameter[name].sq_norm_sum == pytest.approx(grad.sum(0).square().sum().item(), rel=1e-13)
        assert moments.by_parameter[name].sum_sq_norms == pytest.approx(grad.square().sum().item(), rel=1e-13)


def test_additive_over_parameters_and_modules() -> None:
    moments = record(example_gradients(7))
    modules = moments.by_module(OWNERS)
    assert list(modules) == ["0", ""]
    assert modules["0"] == moments.select(["0.weight", "0.bias"])
    assert Moments.add(7, modules.values()).sq_norm_sum == pytest.approx(moments.total.sq_norm_sum, rel=1e-14)
    assert moments.names_by_module(OWNERS) == {"0": ["0.weight", "0.bias"], "": ["scale"]}


@given(st.lists(st.integers(0, 5), min_size=3, max_size=3), st.booleans(), st.integers(0, 2**31))
def test_merge_is_associative_and_commutative(sizes: list[int], grouped: bool, seed: int) -> None:
    parts = split(example_gradients(sum(sizes), seed), sizes)
    a, b, c = (record(part, group=i % 2 if grouped else None) for i, part in enumerate(parts))
    assert same(a.merge(b).merge(c), a.merge(b.merge(c)))
    assert same(a.merge(b), b.merge(a))


@given(st.lists(st.integers(0, 5), min_size=1, max_size=7), st.integers(0, 2**31))
def test_batch_split_and_order_do_not_matter(sizes: list[int], seed: int) -> None:
    grads = example_gradients(sum(sizes), seed)
    shuffled = rows(grads, torch.randperm(sum(sizes), generator=torch.Generator().manual_seed(seed)))
    accumulator = MomentsAccumulator()
    for part in split(shuffled, sizes):
        accumulator.add(*sums(part))
    assert same(accumulator.finish(), record(grads))


@given(st.integers(2, 5), st.lists(st.integers(0, 3), min_size=2, max_size=13))
def test_resuming_gives_the_groups_of_one_run(num_groups: int, sizes: list[int]) -> None:
    parts = split(example_gradients(sum(sizes)), sizes)
    whole, first = MomentsAccumulator(num_groups), MomentsAccumulator(num_groups)
    second = MomentsAccumulator(num_groups, first_batch=1)
    for number, part in enumerate(parts):
        whole.add(*sums(part))
        (second if number else first).add(*sums(part))
    assert same(first.finish().merge(second.finish()), whole.finish())


@pytest.mark.parametrize("num_batches", [2, 3, 4, 11])
def test_leave_one_out_is_the_measurement_without_that_group(num_batches: int) -> None:
    num_groups, grads = 3, example_gradients(2 * num_batches + 1)
    parts = split(grads, [2] * (num_batches - 1) + [3])
    accumulator = MomentsAccumulator(num_groups)
    for part in parts:
        accumulator.add(*sums(part))
    moments = accumulator.finish()
    assert sorted(moments.batches) == list(range(min(num_groups, num_batches)))
    for group, rest in enumerate(moments.leave_one_out()):
        kept = [part for number, part in enumerate(parts) if number % num_groups != group]
        expected = record({name: torch.cat([part[name] for part in kept]) for name in SHAPES})
        assert rest.num_examples == expected.num_examples
        assert rest.sum_sq_norms == pytest.approx(expected.total.sum_sq_norms, rel=1e-12)
        assert rest.sq_norm_sum == pytest.approx(expected.total.sq_norm_sum, rel=1e-12)
        bias = moments.leave_one_out(["0.bias"])[group]
        assert bias.sq_norm_sum == pytest.approx(expected.by_parameter["0.bias"].sq_norm_sum, rel=1e-12)


def test_memory_is_bounded_by_the_groups() -> None:
    accumulator = MomentsAccumulator(num_groups=5)
    for part in split(example_gradients(101), [1] * 101):
        accumulator.add(*sums(part))
    moments = accumulator.finish()
    assert [moments.batches[group].num_examples for group in range(5)] == [21, 20, 20, 20, 20]


def test_groups_within_memory() -> None:
    assert groups_within(8 * 10 * 7, 10) == 7
    assert groups_within(8 * 10 * 1000, 10) == MOST_GROUPS
    assert groups_within(8 * 10 * 1.9, 10) == 0
    assert groups_within(1e6, 0) == MOST_GROUPS


def test_float32_batches_are_summed_in_float64_and_copied() -> None:
    """In float32, 2^24 + 1 is 2^24."""
    grad = torch.tensor([1.0], dtype=torch.float32)
    accumulator = MomentsAccumulator()
    accumulator.add(1, {"w": 1.0}, {"w": grad * 2**24})
    for _ in range(7):
        accumulator.add(1, {"w": torch.tensor(1.0)}, {"w": grad})
    moments = accumulator.finish()
    assert moments.grad_sums["w"].item() == 2**24 + 7
    grad.zero_()
    kept = GradientMoments.from_batch(1, {"w": 1.0}, {"w": (source := torch.ones(3, dtype=torch.float64))})
    source.zero_()
    assert kept.grad_sums["w"].sum() == 3


def test_the_record_does_not_hold_the_graph() -> None:
    weight = torch.ones(3, requires_grad=True)
    accumulator = MomentsAccumulator()
    for _ in range(2):
        accumulator.add(1, {"w": (weight**2).sum()}, {"w": weight * 2})
    assert not accumulator.finish().grad_sums["w"].requires_grad


@pytest.mark.parametrize("num_examples", [0, 1])
def test_no_example_and_one(num_examples: int) -> None:
    moments = record(example_gradients(num_examples))
    bound = moments.total.batch_size_bound
    assert math.isnan(bound) if num_examples == 0 else bound == pytest.approx(1, rel=1e-14)
    assert same(record(example_gradients(0)).merge(record(example_gradients(7))), record(example_gradients(7)))


def test_an_empty_record_joins_one_with_groups() -> None:
    grouped = record(example_gradients(7), group=2)
    assert sorted(record(example_gradients(0)).merge(grouped).batches) == [2]
    assert sorted(grouped.merge(record(example_gradients(0))).batches) == [2]


def test_an_unmeasured_parameter_makes_the_total_unavailable_not_smaller() -> None:
    count, squares, grads = sums(example_gradients(7))
    moments = GradientMoments.from_batch(count, {**squares, "scale": math.nan}, grads)
    merged = moments.merge(record(example_gradients(7)))
    for measured in (moments, merged):
        assert math.isnan(measured.total.sum_sq_norms)
        assert math.isnan(measured.total.batch_size_bound)
        assert not math.isnan(measured.by_module(OWNERS)["0"].batch_size_bound)


def test_refusals_name_the_parameter() -> None:
    moments = record(example_gradients(7))
    other = GradientMoments.from_batch(1, {"0.weight": 1.0}, {"0.weight": torch.ones(3, 5)})
    with pytest.raises(InputError, match=r"0\.bias.*only one of the two"):
        moments.merge(other)
    reshaped = {**sums(example_gradients(7))[2], "0.bias": torch.ones(5)}
    with pytest.raises(InputError, match=r"'0\.bias' has shape \(3,\).*\(5,\)"):
        moments.merge(GradientMoments.from_batch(7, sums(example_gradients(7))[1], reshaped))
    accumulator = MomentsAccumulator()
    accumulator.add(*sums(example_gradients(7)))
    with pytest.raises(InputError, match=r"'0\.bias' has shape"):
        accumulator.add(7, sums(example_gradients(7))[1], reshaped)
    with pytest.raises(InputError, match="scale"):
        accumulator.add(7, {"0.weight": 1.0, "0.bias": 1.0}, sums(example_gradients(7))[2])
    with pytest.raises(InputError, match="no owning module"):
        moments.by_module({"scale": ""})
    with pytest.raises(InputError, match="not measured"):
        moments.select(["1.weight"])


def test_refusals_of_inconsistent_records() -> None:
    grads = {"w": torch.ones(3, dtype=torch.float64)}
    with pytest.raises(InputError, match="keeps groups"):
        record(example_gradients(7)).merge(record(example_gradients(7), group=0))
    with pytest.raises(InputError, match="float64"):
        GradientMoments(1, {"w": 1.0}, {"w": torch.ones(3)})
    with pytest.raises(InputError, match="only one of sum_sq_norms and grad_sums"):
        GradientMoments(1, {}, grads)
    with pytest.raises(InputError, match="num_examples=-1"):
        GradientMoments(-1, {"w": 1.0}, grads)
    with pytest.raises(InputError, match="groups hold 2 examples, the total 3"):
        GradientMoments(3, {"w": 1.0}, grads, {0: BatchMoments(2, {"w": 1.0}, grads)})
    with pytest.raises(InputError, match="num_groups=1"):
        MomentsAccumulator(num_groups=1)
    with pytest.raises(InputError, match="no batch"):
        MomentsAccumulator().finish()


@pytest.mark.gpu
def test_sums_stay_on_the_device_and_merge_across_devices() -> None:
    grads = example_gradients(7)
    on_gpu = record({name: grad.cuda() for name, grad in grads.items()})
    assert all(grad.is_cuda for grad in on_gpu.grad_sums.values())
    assert record(grads).merge(on_gpu).total.sq_norm_sum == pytest.approx(4 * record(grads).total.sq_norm_sum)
