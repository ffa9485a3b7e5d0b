"""The callback in the real Lightning Trainer: its numbers against plain autograd, its logs read back."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

pl = pytest.importorskip("lightning.pytorch")

from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger  # noqa: E402

from batchscope.analysis import BatchRule  # noqa: E402
from batchscope.gradients.observing import ObserveWarning  # noqa: E402
from batchscope.integrations.first_called import FirstCalled  # noqa: E402
from batchscope.integrations.lightning import NoiseScaleCallback  # noqa: E402
from tests.integrations.oracle import events, moments  # noqa: E402

QUIET = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu", "devices": 1}


class Plain(pl.LightningModule):
    """training_step calls the module itself."""

    def __init__(self, normalise=False):
        super().__init__()
        torch.manual_seed(0)
        middle = nn.BatchNorm1d(13) if normalise else nn.Tanh()
        self.net = nn.Sequential(nn.Linear(7, 13), middle, nn.Linear(13, 5))

    def forward(self, inputs):
        return self.net(inputs)

    def training_step(self, batch, index):
        return F.cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), 1e-2)


class Inner(Plain):
    """training_step calls a part of it, though the module has a forward of its own."""

    def training_step(self, batch, index):
        return F.cross_entropy(self.net(batch[0]), batch[1])


class Headless(pl.LightningModule):
    """The module has no forward at all."""

    def __init__(self):
        super().__init__()
        self.net = Plain().net

    training_step, configure_optimizers = Inner.training_step, Plain.configure_optimizers


def loader(count=47, batch=5):
    generator = torch.Generator().manual_seed(3)
    inputs = torch.randn(count, 7, generator=generator)
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(inputs, inputs[:, :5].argmax(1)), batch)


@pytest.fixture
def fit(tmp_path):
    def run(module, noise, *, data=None, path=None, **options):
        given = {"max_epochs": 1, "logger": False, "enable_checkpointing": False, "default_root_dir": tmp_path}
        trainer = pl.Trainer(**QUIET, **{**given, **options}, callbacks=[noise] if noise else [])
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*(num_workers|log_every_n_steps|resuming|directory).*")
            trainer.fit(module, loader() if data is None else data, ckpt_path=path)
        return trainer

    return run


def losses_of(notes):
    return [note for note in notes if "not observed" in note.reason or "not recorded" in note.reason]


@pytest.mark.parametrize(
    ("kind", "steps"), [(Plain, {0: 15, 2: 15}), (Inner, {1: 15, 3: 2}), (Headless, {0: 15, 2: 15})]
)
def test_the_moments_are_those_of_the_examples_of_a_step_and_the_run_is_as_without(fit, kind, steps):
    plain, module, start = kind(), kind(), kind()
    noise = NoiseScaleCallback(every=2)
    fit(plain, None, accumulate_grad_batches=3)
    fit(module, noise, accumulate_grad_batches=3)
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), module.parameters(), strict=True))
    # 47 examples in micro-batches of 5: steps of 15, 15, 15 and 2
    assert {step: m.num_examples for step, m in noise.history.items()} == {0: 15, 2: 15}
    assert not losses_of(noise.notes)
    inputs, labels = loader().dataset.tensors

    def losses(model, i):
        return F.cross_entropy(model.net(inputs[i : i + 1].double()), labels[i : i + 1])

    found = noise.history[0].sum_sq_norms, noise.history[0].sq_norm_sum
    assert found == pytest.approx(moments(start, losses, range(15)), rel=1e-4)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())


def test_a_redirected_call_is_passed_over_and_what_it_calls_is_observed():
    """With several processes Lightning calls the whole module by a forward that runs training_step."""
    module, found = Plain(), []
    search = FirstCalled(module, found.append)
    batch = next(iter(loader()))

    def step(*batch):
        del module.forward
        return module.training_step(batch, 0)

    module.forward = step
    module(*batch)
    assert found == [module]  # the call within training_step, not the one around it
    search.end()
    assert not any(part._forward_pre_hooks for part in module.modules())


def test_every_logger_of_the_trainer_gets_the_numbers(fit, tmp_path):
    loggers = [TensorBoardLogger(tmp_path / "board"), CSVLogger(tmp_path / "table", flush_logs_every_n_steps=1)]
    noise = NoiseScaleCallback(every=1)
    fit(Plain(), noise, logger=loggers, max_epochs=2)
    expected = [(step + 1, pytest.approx(m.noise.trace_covariance, rel=1e-5)) for step, m in noise.history.items()]
    assert events(tmp_path / "board")["batchscope/trace_covariance"] == expected
    assert len(expected) == 20
    table = next((tmp_path / "table").rglob("metrics.csv")).read_text().splitlines()
    assert "batchscope/noise_scale_low" in table[0]


def test_bf16_batchnorm_and_a_record_without_any_logger(fit, tmp_path):
    noise = NoiseScaleCallback(every=1, csv=tmp_path / "noise.csv")
    fit(Plain(), noise, precision="bf16-mixed")
    assert len(noise.history) == 10
    assert not losses_of(noise.notes)
    assert len((tmp_path / "noise.csv").read_text().splitlines()) == 11
    grouped = NoiseScaleCallback(every=1)
    fit(Plain(normalise=True), grouped, accumulate_grad_batches=2, data=loader(40))
    assert {m.basis.partition(":")[0] for m in grouped.history.values()} == {"gradients of 2 groups of 5 examples"}


@pytest.mark.parametrize("normalise", [False, True])
def test_a_resumed_run_goes_on_with_the_history_of_the_first_part(fit, tmp_path, normalise):
    def run(epochs, **more):
        noise = NoiseScaleCallback(every=1)
        keep = pl.callbacks.ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1)
        given = {"max_epochs": epochs, "logger": False, "default_root_dir": tmp_path, "accumulate_grad_batches": 2}
        trainer = pl.Trainer(**QUIET, **given, callbacks=[noise, keep])
        trainer.fit(Plain(normalise), loader(40), **more)
        return noise.history

    first, again = run(3), run(4, ckpt_path=str(tmp_path / "epoch=0.ckpt"))
    assert list(first) == list(range(12))
    assert list(again) == list(range(16))
    for step in range(12):  # four restored, eight trained again from the checkpoint
        assert again[step].noise.trace_covariance == pytest.approx(first[step].noise.trace_covariance, rel=1e-5)
        assert again[step].basis == first[step].basis


def test_what_goes_wrong_is_a_note_and_the_run_goes_on(fit):
    noise = NoiseScaleCallback(every=1, module="nett")
    with pytest.warns(ObserveWarning, match="expected one of 'net'"):
        trainer = fit(Plain(), noise)
    assert trainer.global_step == 10
    assert noise.history == {}

    class Apart(Plain):  # calls neither the module nor one part that holds all its parameters
        def training_step(self, batch, index):
            return F.cross_entropy(self.net[2](self.net[1](self.net[0](batch[0]))), batch[1])

    noise = NoiseScaleCallback(every=1)
    with pytest.warns(ObserveWarning, match="say module='name'"):
        fit(Apart(), noise)

    class Failing(Plain):
        def training_step(self, batch, index):
            if index == 3:
                raise ZeroDivisionError
            return super().training_step(batch, index)

    module, noise = Failing(), NoiseScaleCallback(every=1)
    with pytest.raises(ZeroDivisionError):
        fit(module, noise)
    assert len(noise.history) == 3
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())


def test_accumulation_grows_where_both_accumulations_end_and_no_gradient_is_lost(fit):
    class Counting(Plain):
        def __init__(self):
            super().__init__()
            self.gradients = []

        def on_before_optimizer_step(self, optimizer):
            self.gradients.append(self.net[2].bias.grad.clone())

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.0)

    module, noise = Counting(), NoiseScaleCallback(every=1, grow=BatchRule(share=1000.0, most=20))
    fit(module, noise, data=loader(80), max_epochs=2)
    sizes = [m.num_examples for m in noise.history.values()]
    assert sizes == [5] * 8 + [20] * 6  # known after eight steps, which are two steps of four
    mean = torch.stack(module.gradients[:4]).mean(0)  # the weights stay: epoch 2 sees the same examples in one step
    assert torch.allclose(module.gradients[10], mean, atol=1e-6)
