"""What is refused or said: coupled examples, randomness, losses, wrong rules; and that nothing is left behind."""

import copy
import functools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from batchscope.errors import InputError, MeasurementError, RunError
from batchscope.gradients import measure, oracle, per_example_sq_norms
from tests.gradients.broken_rules import broken_rule
from tests.gradients.gradient_models import batchnorm_eval, squared_error


def batchnorm_model(dims=2):
    torch.manual_seed(0)
    if dims == 1:
        return nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.Tanh(), nn.Linear(7, 3)).double()
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Tanh(), nn.Flatten(), nn.Linear(45, 3)).double()


DRAWN = torch.Generator().manual_seed(3)
IMAGES, VECTORS = (torch.randn(*shape, generator=DRAWN).double() for shape in ((11, 2, 5, 7), (11, 5)))
CLASSES = torch.arange(11) % 3


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}, [m.training for m in model.modules()]


def same(left, right):
    return left[1] == right[1] and all(torch.equal(left[0][name], right[0][name]) for name in left[0])


def test_batchnorm_in_training_mode_is_refused_naming_modules_and_choices():
    model = batchnorm_model()
    before = state(model)
    with pytest.raises(MeasurementError, match=r"1.*'eval'.*'frozen'.*'microbatch'"):
        measure(model, F.cross_entropy, (IMAGES, CLASSES))
    assert same(state(model), before)


def test_batchnorm_eval():
    model = batchnorm_model()
    model(IMAGES)
    before = state(model)
    found = per_example_sq_norms(model, F.cross_entropy, IMAGES, CLASSES, batchnorm="eval")
    assert same(state(model), before)
    truth = oracle.per_example_gradients(copy.deepcopy(model).eval(), F.cross_entropy, IMAGES, CLASSES)
    torch.testing.assert_close(found, sum(g.flatten(1).square().sum(1) for g in truth.values()))


@pytest.mark.parametrize("dims", [1, 2])
def test_batchnorm_frozen_is_eval_mode_with_the_batch_statistics(dims):
    model, inputs = batchnorm_model(dims), IMAGES if dims == 2 else VECTORS
    before = state(model)
    found = per_example_sq_norms(model, F.cross_entropy, inputs, CLASSES, batchnorm="frozen")
    assert same(state(model), before)
    twin = copy.deepcopy(model).eval()
    features = twin[0](inputs).detach()
    axes = [axis for axis in range(features.ndim) if axis != 1]
    twin[1].running_var, twin[1].running_mean = torch.var_mean(features, axes, correction=0)
    truth = oracle.per_example_gradients(twin, F.cross_entropy, inputs, CLASSES)
    torch.testing.assert_close(found, sum(g.flatten(1).square().sum(1) for g in truth.values()))


def test_batchnorm_microbatch_is_training_on_batches_of_one():
    model = batchnorm_model()
    before = state(model)
    found = per_example_sq_norms(model, F.cross_entropy, IMAGES, CLASSES, batchnorm="microbatch")
    assert same(state(model), before)
    truth = oracle.per_example_gradients(copy.deepcopy(model), F.cross_entropy, IMAGES, CLASSES)
    torch.testing.assert_close(found, sum(g.flatten(1).square().sum(1) for g in truth.values()))
    with pytest.raises(InputError, match="one example has a single position"):
        measure(batchnorm_model(1), F.cross_entropy, (VECTORS, CLASSES), batchnorm="microbatch")


def contrastive(outputs, targets):
    return F.cross_entropy(outputs @ outputs.T, torch.arange(len(outputs)), reduction="none")


class Centre(nn.Module):
    def forward(self, x):
        return x - x.mean(0)


def test_coupled_losses_and_modules_are_refused():
    model = nn.Linear(5, 3).double()
    with pytest.raises(MeasurementError, match="coupled in the loss function"):
        measure(model, contrastive, (VECTORS, CLASSES))
    model = nn.Sequential(nn.Linear(5, 3), Centre()).double()
    with pytest.raises(MeasurementError, match=r"module '1' \(Centre\)"):
        measure(model, F.cross_entropy, (VECTORS, CLASSES))


def test_dropout_is_refused_or_chosen():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.Dropout(0.5), nn.Linear(7, 3)).double()
    random_state = torch.random.get_rng_state()
    with pytest.raises(MeasurementError, match=r"in training mode: 1\).*'eval'.*'sample'"):
        measure(model, F.cross_entropy, (VECTORS, CLASSES))
    assert model.training
    report = measure(model, F.cross_entropy, (VECTORS, CLASSES), dropout="eval")
    truth = oracle.moments(copy.deepcopy(model).eval(), F.cross_entropy, VECTORS, CLASSES)
    assert report.sum_sq_norms == pytest.approx(sum(s1 for s1, _ in truth.values()))
    sampled = measure(model, F.cross_entropy, (VECTORS, CLASSES), dropout="sample")
    assert sampled.sum_sq_norms != report.sum_sq_norms
    assert "random forward pass" in str(sampled)
    assert torch.equal(torch.random.get_rng_state(), random_state)


class Unsteady(nn.Module):
    """Gives another result at every run, by a relative `size`, as threaded kernels do in their last digits."""

    def __init__(self, size):
        super().__init__()
        self.size, self.runs = size, 0

    def forward(self, x):
        self.runs += 1
        noise = torch.sin(torch.arange(x.shape[-1]) * self.runs).to(x)
        return x * (1 + self.size * noise)


class Folded(nn.Module):
    """A layer on rows [T N, d], the examples slow or fast, and the sum over T."""

    def __init__(self, is_major):
        super().__init__()
        self.layer, self.is_major = nn.Linear(5, 3), is_major

    def forward(self, x):
        x = torch.stack([x, x.tanh(), x.sin(), x.cos()], int(self.is_major))
        out = self.layer(x.reshape(-1, 5))
        return out.view(-1, 4, 3).sum(1) if self.is_major else out.view(4, -1, 3).sum(0)


@pytest.mark.parametrize("is_major", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rounding_that_differs_from_run_to_run_is_no_randomness(dtype, is_major):
    torch.manual_seed(0)
    eps = torch.finfo(dtype).eps
    data = VECTORS.to(dtype), CLASSES
    model = nn.Sequential(Unsteady(16 * eps), Folded(is_major)).to(dtype)
    report = measure(model, F.cross_entropy, data)
    truth = oracle.moments(model, F.cross_entropy, *data)
    assert report.sum_sq_norms == pytest.approx(sum(s1 for s1, _ in truth.values()), rel=1e3 * eps)
    assert report.coverage.fallbacks == ()
    model[0].size = 1e5 * eps
    with pytest.raises(MeasurementError, match="two forward passes"):
        measure(model, F.cross_entropy, data)


class Augmented(torch.utils.data.Dataset):
    def __len__(self):
        return 11

    def __getitem__(self, i):
        return VECTORS[i] + torch.randn(5).double(), CLASSES[i]


def test_data_that_changes_between_passes_is_said():
    model = nn.Linear(5, 3).double()
    report = measure(model, F.cross_entropy, torch.utils.data.DataLoader(Augmented(), 4))
    assert "changes from one reading to the next" in str(report)
    steady = torch.utils.data.TensorDataset(VECTORS, CLASSES)
    assert not measure(model, F.cross_entropy, torch.utils.data.DataLoader(steady, 4, shuffle=True)).notes


LOSSES = [
    F.cross_entropy,
    nn.CrossEntropyLoss(),
    nn.CrossEntropyLoss(reduction="sum"),
    functools.partial(F.cross_entropy, label_smoothing=0.0),
    lambda outputs, targets: F.cross_entropy(outputs, targets, reduction="none"),
]


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_are_unreduced(loss):
    model = nn.Linear(5, 3).double()
    truth = oracle.moments(model, LOSSES[-1], VECTORS, CLASSES)
    report = measure(model, loss, (VECTORS, CLASSES))
    assert report.by_parameter["weight"].sum_sq_norms == pytest.approx(truth["weight"][0], rel=1e-12)
    if isinstance(loss, nn.Module):
        assert loss.reduction in ("mean", "sum")


def test_losses_of_several_entries_are_summed_per_example():
    model, targets = nn.Linear(5, 3).double(), torch.randn(11, 3).double()
    whole = measure(model, nn.MSELoss(), (VECTORS, targets)).sum_sq_norms
    assert whole == pytest.approx(4 * measure(model, squared_error, (VECTORS, targets)).sum_sq_norms, rel=1e-12)


@pytest.mark.parametrize(
    ("loss", "what"),
    [
        (lambda outputs, targets: F.cross_entropy(outputs, targets), "already reduced"),
        (lambda outputs, targets: outputs.sum(1)[:5], r"shape \(5,\) for"),
        (lambda outputs, targets: 3.0, "returned float"),
    ],
)
def test_unusable_losses_are_refused_with_the_remedy(loss, what):
    with pytest.raises(InputError, match=f'{what}.*reduction="none"'):
        measure(nn.Linear(5, 3).double(), loss, (VECTORS, CLASSES))


@pytest.mark.parametrize(
    ("data", "what"),
    [
        ((VECTORS, CLASSES[:7]), "11 inputs but 7 targets"),
        ([VECTORS], "expected a pair"),
        (3, "expected an iterable"),
        ([], "no batch"),
        ([("text", CLASSES)], "hold no tensor"),
    ],
)
def test_unusable_data_is_refused(data, what):
    with pytest.raises(InputError, match=what):
        measure(nn.Linear(5, 3).double(), F.cross_entropy, data)


def test_other_refusals():
    with pytest.raises(InputError, match="no parameter that requires a gradient"):
        measure(nn.Linear(5, 3).requires_grad_(False), F.cross_entropy, (VECTORS, CLASSES))
    with pytest.raises(InputError, match="did you mean 'frozen'"):
        measure(nn.Linear(5, 3), F.cross_entropy, (VECTORS, CLASSES), batchnorm="frozn")
    ids = torch.randint(0, 5, (11, 3))
    for layer, what in [
        (nn.Embedding(5, 3, max_norm=1.0), "max_norm"),
        (nn.Embedding(5, 3, scale_grad_by_freq=True), "scale_grad"),
    ]:
        with pytest.raises(MeasurementError, match=what):
            measure(nn.Sequential(layer, nn.Flatten()), squared_error, (ids, torch.zeros(11, 9)))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("factor", [1.01, 0.99, 0.0, math.nan])
def test_a_rule_that_is_off_by_one_percent_is_found_and_the_loop_taken(dtype, factor):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).to(dtype)
    data = (VECTORS.to(dtype), CLASSES)
    truth = sum(s1 for s1, _ in oracle.moments(model, F.cross_entropy, *data).values())
    with broken_rule(F.linear, factor):
        report = measure(model, F.cross_entropy, data)
    assert "audit of parameter '0.weight' (rule wrong" in str(report)
    assert report.coverage.fallbacks == tuple(report.by_parameter)
    assert report.sum_sq_norms == pytest.approx(truth, rel=1e-5)
    assert not measure(model, F.cross_entropy, data).notes


class Hidden(torch.autograd.Function):
    """x w, with the use of w hidden from torch functions."""

    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x * w

    @staticmethod
    def backward(ctx, grad):
        x, w = ctx.saved_tensors
        return grad * w, (grad * x).sum(0)


class CustomFunction(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale, self.head = nn.Parameter(torch.randn(5)), nn.Linear(5, 3)

    def forward(self, x):
        return self.head(Hidden.apply(x, self.scale))


def test_what_no_rule_sees_is_measured_by_the_loop_and_said():
    torch.manual_seed(0)
    model = CustomFunction().double()
    report = measure(model, F.cross_entropy, (VECTORS, CLASSES))
    truth = oracle.moments(model, F.cross_entropy, VECTORS, CLASSES)
    assert report.by_parameter["scale"].sum_sq_norms == pytest.approx(truth["scale"][0], rel=1e-12)
    assert report.coverage.fallbacks == ("scale",)
    assert "per-example loop" in str(report.coverage)


def test_a_linear_layer_whose_weight_is_also_used_out_of_sight_is_measured_by_the_loop():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(5, 3)

        def forward(self, x):
            return self.layer(x) + Hidden.apply(x[:, :3], self.layer.bias)

    torch.manual_seed(0)
    model = Twice().double()
    report = measure(model, F.cross_entropy, (VECTORS, CLASSES))
    truth = oracle.moments(model, F.cross_entropy, VECTORS, CLASSES)
    assert report.by_parameter["layer.bias"].sum_sq_norms == pytest.approx(truth["layer.bias"][0], rel=1e-12)
    assert report.by_parameter["layer.weight"].sum_sq_norms == pytest.approx(truth["layer.weight"][0], rel=1e-12)
    assert report.coverage.fallbacks == ("layer.bias",)


def test_a_model_that_starts_to_share_a_layer_is_traced_again():
    class Changing(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers, self.second = nn.ModuleList([nn.Linear(5, 5), nn.Linear(5, 5)]), 1

        def forward(self, x):
            return self.layers[self.second](self.layers[0](x).tanh())

    torch.manual_seed(0)
    model = Changing().double()

    def batches():
        for model.second in (1, 0, 1):
            yield VECTORS, CLASSES

    found, truth = measure(model, F.cross_entropy, batches()), 0.0
    for model.second in (1, 0, 1):
        truth += sum(s1 for s1, _ in oracle.moments(model, F.cross_entropy, VECTORS, CLASSES).values())
    assert found.sum_sq_norms == pytest.approx(truth, rel=1e-12)


def test_a_parameter_that_cannot_be_measured_makes_the_total_unavailable():
    class Both(CustomFunction):
        def forward(self, x):
            if bool((x == x[:1]).all()):
                raise RuntimeError("an example alone is not supported")
            return super().forward(x)

    torch.manual_seed(0)
    report = measure(Both().double(), F.cross_entropy, (VECTORS, CLASSES))
    assert math.isnan(report.sum_sq_norms)
    assert math.isnan(report.batch_size_bound)
    assert math.isnan(report.by_module[""].sum_sq_norms)
    assert report.by_module["head"].sum_sq_norms > 0
    assert report.coverage.unmeasured == ("scale",)
    assert "not available" in str(report)


class PartlyUsed(nn.Module):
    def __init__(self):
        super().__init__()
        self.used, self.unused, self.frozen = nn.Linear(5, 3), nn.Linear(2, 2), nn.Linear(3, 3)
        self.partly, self.in_vain = nn.Linear(3, 3), nn.Linear(3, 3)
        self.frozen.requires_grad_(False)
        self.partly.weight.requires_grad_(False)

    def forward(self, x):
        hidden = self.partly(self.used(x))
        self.in_vain(hidden)
        return self.frozen(hidden)


def test_unused_and_frozen_parameters():
    model = PartlyUsed().double()
    report = measure(model, F.cross_entropy, (VECTORS, CLASSES))
    for name, (truth, _) in oracle.moments(model, F.cross_entropy, VECTORS, CLASSES).items():
        assert report.by_parameter[name].sum_sq_norms == pytest.approx(truth, rel=1e-12)
    assert report.by_module["used"].sum_sq_norms > 0
    assert report.by_module["unused"].sum_sq_norms == report.by_module["in_vain"].sum_sq_norms == 0
    assert "frozen.weight" not in report.by_parameter
    assert "frozen: does not require a gradient" in str(report.coverage)


def test_existing_gradients_and_eval_mode_are_kept():
    model = batchnorm_eval().double()
    model(IMAGES).sum().backward()
    grads = [p.grad.clone() for p in model.parameters()]
    with torch.no_grad():
        measure(model, squared_error, (IMAGES, torch.zeros(11, 45).double()))
    assert all(torch.equal(p.grad, grad) for p, grad in zip(model.parameters(), grads, strict=True))
    assert not model.training


def test_an_input_changed_in_place_after_use_is_an_error_not_a_wrong_number():
    class InPlace(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(5, 5)

        def forward(self, x):
            h = x * 1.0
            out = self.layer(h)
            h.mul_(2.0)
            return out

    with pytest.raises(MeasurementError, match="changed in place"):
        measure(InPlace().double(), squared_error, (VECTORS, torch.zeros(11, 5).double()))


class Masking(nn.Module):
    """Writes into its inputs: the values, and the ids that stand for nothing."""

    def __init__(self):
        super().__init__()
        self.table, self.out = nn.Embedding(7, 5), nn.Linear(5, 3)

    def forward(self, ids, x):
        ids[ids == -1] = 0
        return self.out(self.table(ids) + x.mul_(0.5))


def test_models_that_change_their_inputs_in_place_leave_the_data_alone():
    torch.manual_seed(0)
    model, ids = Masking().double(), torch.randint(-1, 7, (11,))
    x, y = torch.randn(11, 5).double(), torch.arange(11) % 3
    before = ids.clone(), x.clone()
    report = measure(model, F.cross_entropy, [((ids[:6], x[:6]), y[:6]), ((ids[6:], x[6:]), y[6:])])
    assert torch.equal(ids, before[0])
    assert torch.equal(x, before[1])
    squares, total = 0.0, 0.0
    for i in range(11):
        one = slice(i, i + 1)
        loss = F.cross_entropy(model(ids[one].clone(), x[one].clone()), y[one])
        g = torch.cat([grad.flatten() for grad in torch.autograd.grad(loss, model.parameters())])
        squares, total = squares + float(g @ g), total + g
    assert (report.sum_sq_norms, report.sq_norm_sum) == pytest.approx((squares, float(total @ total)), rel=1e-10)


class ByOtherWays(nn.Module):
    """A layer without a rule, measured by vmap, and one whose weight is computed, measured by pulling back."""

    def __init__(self):
        super().__init__()
        self.bilinear = nn.Bilinear(5, 5, 3)
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, inputs):
        return F.linear(self.bilinear(inputs, inputs), torch.diag(torch.exp(self.scale)))


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("no"), RuntimeError("CUDA error: out of memory")])
@pytest.mark.parametrize(("owner", "name"), [(torch.func, "vmap"), (torch.autograd, "grad"), (F, "cross_entropy")])
def test_memory_that_runs_out_is_said_and_no_slower_way_taken(monkeypatch, owner, name, error):
    """Were it taken for an operation that cannot be batched, a loop would hide it; for a loss at fault, blame it."""
    usual, failed = getattr(owner, name), []

    def full(*args, **kwargs):
        if name != "grad" or kwargs.get("is_grads_batched"):
            failed.append(name)
            raise error
        return usual(*args, **kwargs)

    model, loss = ByOtherWays(), nn.CrossEntropyLoss() if name == "cross_entropy" else _cross_entropy
    monkeypatch.setattr(owner, name, full)
    with pytest.raises(RunError, match="memory ran out while measuring"):
        measure(model, loss, (VECTORS.float(), CLASSES))
    assert failed


def _cross_entropy(outputs, targets):
    return F.cross_entropy(outputs, targets, reduction="none")
