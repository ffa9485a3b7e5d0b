"""Steps are the optimizer's: accumulation, flushes, closures, extra passes, and the scale of the loss derived."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from batchscope.gradients import observe
from batchscope.gradients.observing.loss_forms import derive
from tests.gradients.true_moments import truth

X, Y = torch.randn(28, 5, generator=torch.Generator().manual_seed(1)), torch.arange(28) % 3


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3))


def check(moments, right, num_examples):
    assert moments.num_examples == num_examples
    assert (moments.sum_sq_norms, moments.sq_norm_sum) == pytest.approx(right, rel=1e-4)


def run(model, optimizer, factors, accumulation=1):
    with observe(model) as observed:
        for k, factor in enumerate(factors):
            (F.cross_entropy(model(X), Y) * factor).backward()
            if (k + 1) % accumulation == 0:
                optimizer.step()
                optimizer.zero_grad()
    return observed


@pytest.mark.parametrize("is_given", [True, False], ids=["given", "found"])
def test_a_flush_at_the_end_of_an_epoch(is_given):
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    right = []
    with observe(model, optimizer=optimizer if is_given else None, accumulation=None if is_given else 3) as observed:
        for _ in range(2):
            for start in range(0, 28, 4):
                x, y = X[start : start + 4], Y[start : start + 4]
                (F.cross_entropy(model(x), y) / 3).backward()
                with torch.no_grad():
                    model(x)  # an evaluation
                model(x)  # a pass for a log
                if start in (8, 20, 24):
                    first = 0 if start == 8 else 12 if start == 20 else 24
                    right.append((start + 4 - first, truth(model, X[first : start + 4], Y[first : start + 4])))
                    optimizer.step()
                    optimizer.zero_grad()
    assert list(observed.history) == list(range(6))
    for moments, (n, sums) in zip(observed.history.values(), right, strict=True):
        check(moments, sums, n)
    assert not observed.notes


def test_an_optimizer_that_shows_itself_late_is_followed_and_said():
    model = net()
    optimizer = torch.optim.Adam(model.parameters())
    with pytest.warns(UserWarning, match="first step came after 2"):
        observed = run(model, optimizer, [1.0] * 6, 2)
    assert [moments.num_examples for moments in observed.history.values()] == [56, 56]
    assert list(observed.history) == [1, 2]


def test_closures_are_one_step_at_its_first_weights():
    model = nn.Linear(5, 3)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=4)
    right = []

    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(model(X), Y)
        loss.backward()
        return loss

    with observe(model, optimizer=optimizer) as observed:
        for _ in range(3):
            right.append(truth(model, X, Y))
            optimizer.step(closure)
    assert list(observed.history) == [0, 1, 2]
    for moments, sums in zip(observed.history.values(), right, strict=True):
        check(moments, sums, 28)


def test_gradients_thrown_away_are_not_part_of_the_step():
    critic, generator = nn.Linear(5, 3), nn.Linear(4, 5)
    optimizers = torch.optim.SGD(critic.parameters(), 0.1), torch.optim.SGD(generator.parameters(), 0.1)
    z = torch.randn(6, 4)
    with observe(critic, optimizer=optimizers[0]) as observed:
        for _ in range(3):
            optimizers[0].zero_grad()
            F.cross_entropy(critic(X), Y).backward()
            right = truth(critic, X, Y)
            optimizers[0].step()
            optimizers[1].zero_grad()
            F.cross_entropy(critic(generator(z)), torch.zeros(6, dtype=torch.long)).backward()
            optimizers[1].step()
    check(observed.history[2], right, 28)


def test_every_and_steps_without_an_optimizer():
    model = net()
    with observe(model, every=3, reduction="mean") as observed:
        for k in range(7):
            F.cross_entropy(model(X[:4]), Y[:4]).backward()
            assert len(observed.history) == k // 3 + 1
    assert list(observed.history) == [0, 3, 6]


def test_micro_batches_of_a_token_mean_have_their_own_scale():
    model = nn.Sequential(nn.Embedding(13, 7), nn.Linear(7, 13))
    ids, labels = torch.randint(0, 13, (12, 6)), torch.randint(0, 13, (12, 6))
    for row, length in enumerate([6, 6, 5, 6, 2, 1, 3, 2, 6, 1, 1, 1]):
        labels[row, length:] = -100

    def per_sequence(logits, targets):
        return F.cross_entropy(logits.transpose(1, 2), targets, reduction="none").sum()

    right = truth(model, ids, labels, per_sequence)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with observe(model, optimizer=optimizer) as observed:
        for x, y in zip(ids.split(4), labels.split(4), strict=True):
            (F.cross_entropy(model(x).flatten(0, 1), y.flatten()) / 3).backward()
        optimizer.step()
    check(observed.history[0], right, 12)
    assert not observed.notes


def test_told_wrongly_the_gradients_are_believed_and_a_note_says_what_fits():
    model = net()
    with observe(model, reduction="mean") as observed:
        F.cross_entropy(model(X), Y, reduction="sum").backward()
    check(observed.history[0], truth(model, X, Y), 28)
    assert "reduction='sum' fits" in str(observed.notes)


def test_a_scale_that_cannot_be_derived_is_said_or_told():
    model = nn.Linear(5, 3)
    target = torch.randn(28, 3)
    right = truth(model, X, target, lambda z, t: F.mse_loss(z, t))
    for reduction in (None, "mean"):
        with observe(model, reduction=reduction) as observed:
            F.mse_loss(model(X), target).backward()
        check(observed.history[0], right, 28)
        assert ("could not be derived" in str(observed.notes)) is (reduction is None)


def test_grad_scaler_is_seen_in_the_gradients():
    model, scaler = net(), torch.amp.GradScaler("cpu", init_scale=2.0**10)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    right = truth(model, X, Y)
    with observe(model, optimizer=optimizer) as observed:
        scaler.scale(F.cross_entropy(model(X), Y)).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 0.01)
        scaler.step(optimizer)
    check(observed.history[0], right, 28)


WEIGHTS = torch.tensor([0.5, 2.0, 1.0])


def summed(z, y, weight=None, **options):
    weight = None if weight is None else weight.to(z.dtype)
    return F.cross_entropy(z, y, weight, reduction="sum", **options)


@pytest.mark.parametrize(
    ("options", "remark"),
    [
        ({"label_smoothing": 0.1}, None),
        ({"ignore_index": 1}, None),
        ({"label_smoothing": 0.1, "ignore_index": 1}, None),
        ({"weight": WEIGHTS}, "class weights"),
        ({"weight": WEIGHTS, "ignore_index": 1}, "class weights"),
        ({"weight": WEIGHTS, "label_smoothing": 0.1}, "class weights"),
        ({"weight": WEIGHTS, "label_smoothing": 0.1, "ignore_index": 1}, "class weights"),
    ],
)
@pytest.mark.parametrize("accumulation", [1, 2])
def test_means_whose_denominator_is_not_the_number_of_examples(options, remark, accumulation):
    """Micro-batches of unequal denominators: ratios of the step are those of the un-reduced loss."""
    torch.manual_seed(3)
    model = net()
    right = truth(model, X, Y, lambda z, y: summed(z, y, **options))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with observe(model, optimizer=optimizer) as observed:
        for x, y in zip(X.chunk(accumulation), Y.chunk(accumulation), strict=True):
            F.cross_entropy(model(x), y, **options).backward()
        optimizer.step()
    assert ([remark in note.reason for note in observed.notes] == [True]) if remark else not observed.notes
    if remark is None:
        check(observed.history[0], right, 28)
    elif "weights" in remark:  # known up to a factor
        moments = observed.history[0]
        assert moments.sum_sq_norms / moments.sq_norm_sum == pytest.approx(right[0] / right[1], rel=1e-4)


def test_class_weights_keep_their_factor_from_step_to_step():
    """The mean of a batch's weights changes; that of the classes does not."""
    torch.manual_seed(3)
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    with observe(model, optimizer=optimizer) as observed:
        for k in (0, 1, 2):
            rows = slice(0, 28) if k != 1 else Y != 2  # one class is missing
            optimizer.zero_grad()
            F.cross_entropy(model(X[rows]), Y[rows], weight=WEIGHTS).backward()
            optimizer.step()
    for k in (0, 1, 2):
        rows = slice(0, 28) if k != 1 else Y != 2
        one = truth(model, X[rows], Y[rows], lambda z, y: summed(z, y, WEIGHTS))
        factor = float(WEIGHTS.mean()) ** 2
        assert observed.history[k].sum_sq_norms * factor == pytest.approx(one[0], rel=1e-3)


def test_a_form_that_holds_in_the_rows_looked_at_alone_is_not_believed():
    """The middle example has a weight of its own and a small gradient: the audit of single examples finds it."""
    torch.manual_seed(0)
    model = nn.Linear(5, 3)
    weights = torch.ones(400)
    weights[200] = 0.011
    x, y = torch.randn(400, 5), torch.randint(0, 3, (400,))
    with observe(model, reduction="mean") as observed:
        (F.cross_entropy(model(x), y, reduction="none") * weights).mean().backward()
    assert "looked like cross-entropy" in str(observed.notes)
    assert "reduction=" in str(observed.notes)


@pytest.mark.parametrize("scale", [1.0, 1 / 3, 65536.0])
def test_forms_of_losses(scale):
    torch.manual_seed(0)
    z = torch.randn(7, 5, requires_grad=True)
    y = torch.randint(0, 5, (7,))
    losses = {
        "cross-entropy": F.cross_entropy(z, y, reduction="sum"),
        "binary cross-entropy": F.binary_cross_entropy_with_logits(z, (z > 0).float(), reduction="sum"),
        "outputs that are losses": z.sum(),
    }
    for form, loss in losses.items():
        (v,) = torch.autograd.grad(loss * scale, z, retain_graph=True)
        found = derive(z, v)
        assert found.form == form
        assert found.factor == pytest.approx(1 / scale, rel=1e-5)
    log_p = z.detach().log_softmax(1).requires_grad_()
    found = derive(log_p, torch.autograd.grad(F.nll_loss(log_p, y) * scale, log_p)[0])
    assert found.form == "likelihood of log-probabilities"
    assert found.factor == pytest.approx(7 / scale, rel=1e-5)


def test_forms_that_are_not_told_apart_are_not_guessed():
    torch.manual_seed(0)
    z = torch.randn(7, 5, requires_grad=True)
    y = torch.randint(0, 5, (7,))
    for loss in (
        (z - 1).square().mean(),
        (F.cross_entropy(z, y, reduction="none") * torch.arange(1, 8)).sum(),
        F.binary_cross_entropy_with_logits(z, torch.rand(7, 5)),
    ):
        assert derive(z, torch.autograd.grad(loss, z, retain_graph=True)[0]) is None
    one = torch.randn(1, 1, requires_grad=True)
    assert derive(one, torch.autograd.grad(one.square().sum(), one)[0]) is None


def test_a_gradient_that_is_not_finite_is_a_note():
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    with pytest.warns(UserWarning, match="not finite"):
        observed = run(model, optimizer, [1.0, math.inf])
    assert list(observed.history) == [0]


def test_a_perturbation_within_the_step_is_said():
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    right = []
    with observe(model, optimizer=optimizer) as observed:
        for _ in range(2):
            right.append(truth(model, X, Y))
            F.cross_entropy(model(X), Y).backward()
            shifts = [0.05 * p.grad for p in model.parameters()]
            move(model, shifts, 1)
            optimizer.zero_grad()
            F.cross_entropy(model(X), Y).backward()
            move(model, shifts, -1)
            optimizer.step()
            optimizer.zero_grad()
    assert [note.step for note in observed.notes if "its first weights" in note.reason] == [0]
    for moments, sums in zip(observed.history.values(), right, strict=True):
        check(moments, sums, 28)


def move(model, shifts, sign):
    with torch.no_grad():
        for parameter, shift in zip(model.parameters(), shifts, strict=True):
            parameter += sign * shift


def test_calls_whose_examples_the_loss_joins_are_said():
    model, other = net(), torch.randn(28, 5, generator=torch.Generator().manual_seed(2))
    with observe(model) as joined:
        (model(X) - model(other)).square().sum(1).mean().backward()
    assert any("several calls" in note.reason for note in joined.notes)
    with observe(model) as apart:
        (F.cross_entropy(model(X), Y) + F.cross_entropy(model(other), Y)).backward()
    assert not apart.notes
    assert apart.history[0].num_examples == 56
