"""The callback in the real Hugging Face Trainer: its numbers against plain autograd, its logs read back."""

import warnings

import pytest
import torch

transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from batchscope.analysis import BatchRule, schedule  # noqa: E402
from batchscope.gradients.observing import ObserveWarning  # noqa: E402
from batchscope.integrations import noise_record  # noqa: E402
from batchscope.integrations.huggingface import NoiseScaleTrainerCallback  # noqa: E402
from batchscope.integrations.noise_record import BatchSizeHint, BatchSizeWarning  # noqa: E402
from tests.integrations.oracle import events, moments  # noqa: E402

SMALL = {"vocab_size": 31, "n_positions": 11, "n_embd": 16, "n_layer": 1, "n_head": 2, "use_cache": False}
TOKENS = {"bos_token_id": 0, "eos_token_id": 0, "loss_type": "ForCausalLM"}
WITHOUT_DROPOUT = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}


class Sentences(torch.utils.data.Dataset):
    """Sequences with very unequal numbers of tokens that count."""

    def __init__(self, count=47):
        generator = torch.Generator().manual_seed(1)
        self.ids = torch.randint(1, 31, (count, 11), generator=generator)
        self.lengths = torch.randint(2, 12, (count,), generator=generator)

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, index):
        labels = self.ids[index].clone()
        labels[self.lengths[index] :] = -100
        return {"input_ids": self.ids[index], "labels": labels}


USUAL = {
    "per_device_train_batch_size": 5, "gradient_accumulation_steps": 3, "num_train_epochs": 1, "report_to": [],
    "use_cpu": True, "save_strategy": "no", "disable_tqdm": True, "logging_steps": 1000, "learning_rate": 1e-2,
}  # fmt: skip


class InOrder(transformers.Trainer):
    def _get_train_sampler(self, *arguments):
        return torch.utils.data.SequentialSampler(self.train_dataset)


def gpt2(**changes):
    torch.manual_seed(0)
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**SMALL, **TOKENS, **WITHOUT_DROPOUT, **changes))


def trainer(folder, model=None, data=None, kind=InOrder, **changes):
    arguments = transformers.TrainingArguments(str(folder), **{**USUAL, **changes})
    return kind(model or gpt2(), arguments, train_dataset=Sentences() if data is None else data)


def token_losses(model, example):
    ids, labels = (example[name][None] for name in ("input_ids", "labels"))
    logits = model(input_ids=ids).logits
    return torch.nn.functional.cross_entropy(logits[:, :-1].transpose(1, 2), labels[:, 1:], reduction="sum")


def losses_of(notes):
    """The notes that mean that something was not observed."""
    return [note for note in notes if "not observed" in note.reason or "not recorded" in note.reason]


def test_accumulated_token_means_give_the_moments_of_whole_sequences_and_leave_the_run_as_it_is(tmp_path):
    plain, watched = trainer(tmp_path / "a"), trainer(tmp_path / "b", report_to=["tensorboard"])
    start = gpt2()
    noise = NoiseScaleTrainerCallback(watched, every=2, csv=tmp_path / "noise.csv")
    plain.train()
    watched.train()
    assert all(torch.equal(a, b) for a, b in zip(plain.model.parameters(), watched.model.parameters(), strict=True))
    # 47 sequences in micro-batches of 5: steps of 15, 15, 15 and 2 sequences
    assert {step: m.num_examples for step, m in noise.history.items()} == {0: 15, 2: 15}
    data = Sentences()
    S1, Q = moments(start, token_losses, [data[i] for i in range(15)])
    assert noise.history[0].sum_sq_norms == pytest.approx(S1, rel=1e-4)
    assert noise.history[0].sq_norm_sum == pytest.approx(Q, rel=1e-4)
    assert not losses_of(noise.notes)

    # TensorBoard has under train/ what Trainer reports; log_history has the same
    logged = events(tmp_path / "b")
    tag = next(tag for tag in logged if tag.endswith("batchscope/trace_covariance"))
    expected = [(step + 1, m.noise.trace_covariance) for step, m in noise.history.items()]
    assert [(step, pytest.approx(value, rel=1e-5)) for step, value in logged[tag]] == expected
    history = [entry for entry in watched.state.log_history if "batchscope/batch_size" in entry]
    assert [(entry["step"], entry["batchscope/batch_size"]) for entry in history] == [(1, 15.0), (3, 15.0)]
    assert len((tmp_path / "noise.csv").read_text().splitlines()) == 3
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in watched.model.modules())


def test_a_resumed_run_goes_on_with_the_history_of_the_first_part(tmp_path):
    def run(steps, **arguments):
        noise = NoiseScaleTrainerCallback(every=1)
        one = trainer(tmp_path, num_train_epochs=3, save_strategy="steps", save_steps=2, max_steps=steps)
        one.add_callback(noise)
        one.train(**arguments)
        return noise, one

    first, _ = run(4)
    again, resumed = run(6, resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert list(again.history) == list(range(6))
    for step in range(4):  # two restored, two trained again from the checkpoint
        assert again.history[step].sum_sq_norms == pytest.approx(first.history[step].sum_sq_norms, rel=1e-5)
    assert [e["step"] for e in resumed.state.log_history if "batchscope/batch_size" in e] == [1, 2, 3, 4, 5, 6]


def test_lora_activation_checkpointing_and_bf16_together(tmp_path):
    peft = pytest.importorskip("peft")
    model = gpt2()
    model.enable_input_require_grads()
    model = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["c_attn"], fan_in_fan_out=True))
    one = trainer(tmp_path, model, gradient_checkpointing=True, bf16=True, max_steps=3)
    noise = NoiseScaleTrainerCallback(one, every=1)
    one.train()
    assert [m.num_examples for m in noise.history.values()] == [15, 15, 15]
    assert all(m.sum_sq_norms > 0 and m.noise.trace_covariance > 0 for m in noise.history.values())
    assert not losses_of(noise.notes)
    assert set(noise.history[0].by_parameter) == {n for n, p in one.model.named_parameters() if p.requires_grad}


def test_whatever_goes_wrong_the_run_goes_on_and_a_note_says_so(tmp_path, monkeypatch):
    def broken(*arguments):
        raise RuntimeError("planted")

    monkeypatch.setattr(noise_record, "noise_window", broken)
    one = trainer(tmp_path)
    noise = NoiseScaleTrainerCallback(one, every=1)
    with pytest.warns(ObserveWarning, match="planted"):
        one.train()
    assert one.state.global_step == 4
    assert [(note.times, "planted" in note.reason) for note in noise.notes if "planted" in note.reason] == [(4, True)]

    frozen = gpt2().requires_grad_(False)
    frozen.transformer.wte.weight.requires_grad_(True)
    strange = trainer(tmp_path, frozen)
    noise = NoiseScaleTrainerCallback(strange, every=1, reduction="median")  # no such thing: an InputError of observe
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a warning that is an error may not end the run either
        strange.train()
    assert strange.state.global_step == 4
    assert "median" in str(noise.notes[0])


def test_one_hint_and_one_warning_in_a_run(tmp_path):
    random = trainer(tmp_path, num_train_epochs=4, learning_rate=0.0)  # random tokens: the gradient is mostly noise
    NoiseScaleTrainerCallback(random, every=1)
    with pytest.warns(BatchSizeHint, match=r"batch \d+, noise scale .* larger costs") as hints:
        random.train()
    assert len([w for w in hints if w.category is BatchSizeHint]) == 1

    same = Sentences()
    same.ids[:], same.lengths[:] = same.ids[0], 11
    same.ids[::9, 3] = 7  # nearly equal examples: hardly any noise
    alike = trainer(tmp_path, data=same, num_train_epochs=4, learning_rate=0.0)
    noise = NoiseScaleTrainerCallback(alike, every=1)
    with pytest.warns(BatchSizeWarning, match=r"times the noise scale") as warned:
        alike.train()
    assert len([w for w in warned if w.category is BatchSizeWarning]) == 1
    assert noise.noise_scale_curve()[0].high < 15 / 2


def test_accumulation_grows_where_an_epoch_begins_and_every_example_is_seen(tmp_path):
    one = trainer(tmp_path, data=Sentences(40), num_train_epochs=3, gradient_accumulation_steps=1, learning_rate=0.0)
    noise = NoiseScaleTrainerCallback(one, every=1, grow=BatchRule(share=100.0, most=20))
    one.train()
    sizes = [m.num_examples for m in noise.history.values()]
    assert sizes == [5] * 8 + [20] * 2 + [20] * 2
    assert one.state.epoch == pytest.approx(3.0)

    earlier = schedule(noise, micro_batch=5, share=100.0, most=20)
    again = trainer(tmp_path, data=Sentences(40), gradient_accumulation_steps=1)
    noise = NoiseScaleTrainerCallback(again, every=1, grow=earlier)
    again.train()
    assert [m.num_examples for m in noise.history.values()] == [20, 20]
