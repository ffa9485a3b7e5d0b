"""How inputs are taken in `measure`: axes of examples, what all examples share, records; and what is left as it was."""

from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from batchscope.errors import InputError, MeasurementError
from batchscope.gradients import measure, per_example_sq_norms
from tests.gradients.loops import Growing


def right(model, singles):
    """(N, S1, Q) by a loop over the losses of single examples."""
    parameters = list(model.parameters())
    rows = []
    for loss in singles:
        found = torch.autograd.grad(loss, parameters, allow_unused=True)
        pairs = zip(parameters, found, strict=True)
        rows.append(torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for p, g in pairs]))
    total = torch.stack(rows).sum(0)
    return len(rows), float(sum(row @ row for row in rows)), float(total @ total)


def found(report):
    return report.num_examples, report.total.sum_sq_norms, report.total.sq_norm_sum


class Recurrent(nn.Module):
    def __init__(self, kind=nn.GRU, time_first=False):
        super().__init__()
        self.rnn, self.out = kind(4, 5, 2, batch_first=not time_first).double(), nn.Linear(5, 3).double()
        self.time_first = time_first

    def forward(self, x, state=None):
        y = self.rnn(x, state)[0]
        return self.out(y[-1] if self.time_first else y[:, -1])


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("is_lstm", [False, True], ids=["gru", "lstm"])
def test_states_hold_examples_in_their_second_axis(is_lstm):
    model = Recurrent(nn.LSTM if is_lstm else nn.GRU)
    batches, singles = [], []
    for n in (6, 3):
        x, h, y = torch.randn(n, 4, 4).double(), torch.randn(2, n, 5).double(), torch.arange(n) % 3
        batches.append(((x, (h, -h) if is_lstm else h), y))
        for i in range(n):
            one = h[:, i : i + 1].contiguous()
            singles.append(F.cross_entropy(model(x[i : i + 1], (one, -one) if is_lstm else one), y[i : i + 1]))
    report = measure(model, F.cross_entropy, batches)
    assert found(report) == pytest.approx(right(model, singles))
    assert "second axis of states" in report.notes[0]


def test_time_first():
    model = Recurrent(time_first=True)
    x, y = torch.randn(7, 4, 4).double(), torch.arange(4) % 3
    singles = [F.cross_entropy(model(x[:, i : i + 1]), y[i : i + 1]) for i in range(4)]
    report = measure(model, F.cross_entropy, [(x, y)])
    assert found(report) == pytest.approx(right(model, singles))
    assert "second axis of the inputs" in report.notes[0]


class Placed(nn.Module):
    """Tokens with positions that all examples share, as an input."""

    def __init__(self):
        super().__init__()
        self.tokens, self.places, self.out = nn.Embedding(9, 4), nn.Embedding(6, 4), nn.Linear(4, 3)

    def forward(self, ids, places):
        return self.out((self.tokens(ids) + self.places(places)).mean(1))


@pytest.mark.parametrize("sizes", [(6, 4), (4, 6), (6,)], ids=["first", "later", "only"])
def test_an_input_that_all_share_may_be_as_long_as_the_batch(sizes):
    model, places = Placed().double(), torch.arange(6)
    batches = [((torch.randint(0, 9, (n, 6)), places), torch.arange(n) % 3) for n in sizes]
    singles = [
        F.cross_entropy(model(ids[i : i + 1], places), y[i : i + 1]) for (ids, _), y in batches for i in range(len(y))
    ]
    assert found(measure(model, F.cross_entropy, batches)) == pytest.approx(right(model, singles))


@dataclass(frozen=True)
class Record:
    x: torch.Tensor
    scale: float


class OfRecords(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(5, 3).double()

    def forward(self, record):
        return record.scale * self.layer(record.x)


def test_records_and_sparse_inputs():
    model, x, y = OfRecords(), torch.randn(6, 5).double(), torch.arange(6) % 3
    expected = right(model, [F.cross_entropy(2 * model.layer(x[i : i + 1]), y[i : i + 1]) for i in range(6)])
    assert found(measure(model, F.cross_entropy, [((Record(x, 2.0),), y)])) == pytest.approx(expected)

    class OfSparse(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(5, 3).double())

        def forward(self, x):
            return torch.sparse.mm(x, self.weight)

    model = OfSparse()
    singles = [F.cross_entropy(x[i : i + 1] @ model.weight, y[i : i + 1]) for i in range(6)]
    assert found(measure(model, F.cross_entropy, [(x.to_sparse(), y)])) == pytest.approx(right(model, singles))


def test_layers_made_in_the_forward_pass_are_refused():
    data = torch.randn(6, 5), torch.arange(6) % 3
    model = Growing()
    with pytest.raises(InputError, match=r"made 'last\.weight' in its forward pass"):
        measure(model, F.cross_entropy, data)
    assert [name for name, _ in model.named_parameters()] == ["first.weight", "first.bias"]
    model(data[0])
    assert measure(model, F.cross_entropy, data).num_examples == 6


@pytest.mark.parametrize("scale", [1e25, 1e-25])
def test_squares_beyond_float32(scale):
    model, x, y = nn.Linear(5, 3), torch.randn(6, 5), torch.arange(6) % 3
    expected = measure(model, F.cross_entropy, (x, y))

    def loss(z, y):
        return F.cross_entropy(z, y, reduction="none") * scale

    report = measure(model, loss, (x, y))
    assert report.total.sum_sq_norms / scale**2 == pytest.approx(expected.total.sum_sq_norms, rel=1e-4)
    assert report.batch_size_bound == pytest.approx(expected.batch_size_bound, rel=1e-4)
    assert per_example_sq_norms(model, loss, x, y).isfinite().all()


def test_batch_statistics_under_autocast():
    model = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3))
    data = torch.randn(16, 5), torch.arange(16) % 3
    expected = measure(model, F.cross_entropy, data, batchnorm="frozen", batch_size=16)
    with torch.autocast("cpu", torch.bfloat16):
        halved = measure(model, F.cross_entropy, data, batchnorm="frozen", batch_size=16)
    assert halved.total.sum_sq_norms == pytest.approx(expected.total.sum_sq_norms, rel=0.05)
    with pytest.raises(MeasurementError, match="failed on a batch of 16"):
        measure(model, F.cross_entropy, (data[0][:, :4], data[1]), batchnorm="frozen", batch_size=16)


def test_messages_name_an_audit_once_and_have_one_full_stop():
    model = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3))
    model[0].weight.register_hook(lambda gradient: gradient.clamp(-0.01, 0.01))
    with pytest.raises(MeasurementError) as error:
        measure(model, F.cross_entropy, (torch.randn(6, 5), torch.arange(6) % 3))
    text = str(error.value)
    assert text.count("audit of parameter") == 1
    assert "a hook changes a gradient" in text
    assert ".." not in text

    def broken(z, y):
        raise ValueError("this loss ends in a full stop.")

    with pytest.raises(MeasurementError) as error:
        measure(nn.Linear(5, 3), broken, (torch.randn(6, 5), torch.arange(6) % 3))
    assert ".." not in str(error.value)
    assert ". ." not in str(error.value)


def test_data_without_an_example_is_said():
    report = measure(nn.Linear(5, 3), F.cross_entropy, (torch.randn(0, 5), torch.arange(0)))
    assert report.num_examples == 0
    assert "no example" in report.notes[0]


def test_data_parallel_is_looked_through():
    inner, data = nn.Linear(5, 3), (torch.randn(6, 5), torch.arange(6) % 3)
    report = measure(nn.DataParallel(inner), F.cross_entropy, data)
    assert found(report) == found(measure(inner, F.cross_entropy, data))
    assert set(report.by_parameter) == {"weight", "bias"}
