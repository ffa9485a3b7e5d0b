"""Cross-entropies with label smoothing and class weights, told from outputs and their gradients."""

import pytest
import torch
import torch.nn.functional as F

from batchscope.gradients.observing.loss_forms import derive, derive_again
from batchscope.gradients.observing.scale import losses_of

SCALE = 512 / 3  # of a loss scaler with three micro-batches


def logits(rows, classes, spread=1.0, seed=0):
    torch.manual_seed(seed)
    return (spread * torch.randn(rows, classes)).requires_grad_(), torch.arange(rows) % classes


def gradient(loss, z):
    return torch.autograd.grad(loss, z, retain_graph=True)[0]


@pytest.mark.parametrize("smoothing", [0.01, 0.1, 0.3])
@pytest.mark.parametrize(("classes", "spread"), [(2, 1.0), (3, 0.1), (7, 5.0), (31, 1.0)])
@pytest.mark.parametrize("is_weighted", [False, True], ids=["plain", "weighted"])
def test_scale_smoothing_and_weights(classes, spread, smoothing, is_weighted):
    z, y = logits(67, classes, spread)
    weights = 0.3 + torch.rand(classes) if is_weighted else torch.ones(classes)
    loss = F.cross_entropy(z, y, weights, reduction="sum", label_smoothing=smoothing) * SCALE
    found = derive(z, gradient(loss, z))
    assert found.smoothing == pytest.approx(smoothing, rel=1e-2)
    assert found.factor * SCALE * float(weights.mean()) == pytest.approx(1, rel=1e-3)
    if is_weighted:
        by_class = torch.tensor([found.weights[k] for k in range(classes)])
        assert by_class.tolist() == pytest.approx((weights / weights.mean()).tolist(), rel=1e-3)


@pytest.mark.parametrize("weights", [None, torch.tensor([0.5, 2.0, 1.0])], ids=["plain", "weighted"])
def test_later_steps_keep_the_form_and_have_a_scale_of_their_own(weights):
    z, y = logits(60, 3)
    first = derive(z, gradient(F.cross_entropy(z, y, weights, label_smoothing=0.1, reduction="sum"), z))
    rows, target = logits(5, 3, seed=1)  # too few to tell the form from
    target = torch.zeros_like(target)
    loss = F.cross_entropy(rows, target, weights, label_smoothing=0.1, reduction="sum")
    again = derive_again(first, rows, gradient(loss * 7, rows))
    assert again.form == first.form
    assert again.factor * 7 == pytest.approx(first.factor, rel=1e-3)
    other = gradient(rows.square().sum(), rows)
    assert derive_again(first, rows, other) is None


@pytest.mark.parametrize("weights", [None, torch.tensor([0.5, 2.0, 1.0])], ids=["plain", "weighted"])
def test_the_loss_can_be_written_down_anew(weights):
    z, y = logits(60, 3)
    y[:5] = -100
    loss = F.cross_entropy(z, y, weights, label_smoothing=0.1, reduction="sum") * SCALE
    v = gradient(loss, z)
    found = derive(z, v)
    again = gradient(losses_of(found, v)(z, v), z) / found.factor
    assert torch.allclose(again, v, rtol=1e-3, atol=1e-3 * float(v.abs().max()))


@pytest.mark.parametrize("spread", [0.1, 1.0])
@pytest.mark.parametrize("classes", [3, 10])
def test_other_functions_of_a_softmax_are_not_taken_for_label_smoothing(classes, spread):
    z, y = logits(64, classes, spread)
    q = torch.randn(64, classes).softmax(1)
    entropy = -(z.softmax(1) * z.log_softmax(1)).sum(1)
    for loss in (
        F.cross_entropy(z, y) - 0.1 * entropy.mean(),  # a bonus for entropy: near to smoothing where p is uniform
        0.5 * F.cross_entropy(z, y) + 2 * F.kl_div((z / 2).log_softmax(1), q, reduction="batchmean"),
        F.cross_entropy(z, q),
        ((1 - z.softmax(1).gather(1, y[:, None])[:, 0]) ** 2 * F.cross_entropy(z, y, reduction="none")).mean(),
    ):
        assert derive(z, gradient(loss, z)) is None


def test_outputs_that_are_no_logits_overflow_silently(recwarn):
    z = torch.tensor([[1e4, -3e4, 7e3]] * 6, requires_grad=True)
    assert derive(z, gradient(z.square().sum(), z)) is None
    assert not recwarn.list


@pytest.mark.parametrize("classes", [3, 32, 33, 1000])  # few and many are told in two ways
@pytest.mark.parametrize("spread", [1.0, 30.0])
def test_later_steps_of_a_plain_cross_entropy(classes, spread):
    z, y = logits(40, classes, spread)
    first = derive(z, gradient(F.cross_entropy(z, y), z))
    rows, target = logits(7, classes, spread, seed=1)
    target[0] = -100
    again = derive_again(first, rows, gradient(F.cross_entropy(rows, target, reduction="sum") * SCALE, rows))
    assert (again.form, again.is_rough) == ("cross-entropy", False)
    assert again.factor * SCALE == pytest.approx(1, rel=1e-4)
    sure = torch.zeros(4, classes).index_fill_(1, torch.tensor([0]), 200.0).requires_grad_()
    assert derive_again(first, sure, -1e-30 * torch.rand_like(sure)) is None  # no direction to compare with
    assert derive_again(first, rows, gradient(rows.square().sum(), rows)) is None
