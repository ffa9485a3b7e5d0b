"""A cohort that is stopped between epochs and started again gives the results of one that was not."""

from __future__ import annotations

import dataclasses
import io
import pickle
from pathlib import Path

import pytest
import torch

from batchscope.architectures import Architecture
from batchscope.records.row import Target
from batchscope.training import Member, MemberResult, Settings, checkpoint, train_cohort
from tests.training.networks import images

SETTINGS = Settings(batch_size=13, target=Target("train_loss", 1.35), max_epochs=8, dtype="float64")
MEMBERS = [Member(0.02, 1), Member(0.05, 2), Member(0.15, 3)]
NETS = {
    "stacked": Architecture("fully_connected", (2, 16, 17), 5, 2, 3, activation="tanh"),
    "one after another": Architecture("lenet", (2, 16, 17), 5, 1, 7, activation="tanh"),
    "vectorised": Architecture("lenet", (2, 16, 17), 5, 1, 7, activation="tanh"),
    "one after another, channels_last": Architecture("resnet18_blocks", (3, 16, 17), 5, 1, 2),
}


class StoppedError(Exception):
    pass


def train(execution: str, settings: Settings, path: Path | None, stop_after: int | None = None) -> list[MemberResult]:
    def on_epoch(epoch: int, running: int) -> None:
        if epoch == stop_after:
            raise StoppedError

    net = NETS[execution]
    how = None if execution == "stacked" else execution
    return train_cohort(
        net, images(net.input_shape), settings, MEMBERS, checkpoint=path, on_epoch=on_epoch, execution=how
    )


@pytest.fixture(autouse=True)
def keep_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "INTERVAL", 0.0)


@pytest.mark.parametrize("execution", NETS)
@pytest.mark.parametrize("optimizer", [("sgd", 0.0), ("sgd", 0.9), ("adam", 0.0)], ids=["sgd", "momentum", "adam"])
@pytest.mark.parametrize("stop_after", [1, 3])
def test_stopped_and_resumed_equals_uninterrupted(execution, optimizer, stop_after, tmp_path):
    settings = dataclasses.replace(SETTINGS, optimizer=optimizer[0], momentum=optimizer[1])
    if execution == "stacked":
        settings = dataclasses.replace(settings, target=Target("train_loss", 0.1))
    whole = train(execution, settings, None)
    with pytest.raises(StoppedError):
        train(execution, settings, tmp_path / "state.pt", stop_after)
    resumed_from = torch.load(tmp_path / "state.pt", weights_only=True)["state"]["epoch"]
    assert resumed_from == stop_after
    resumed = train(execution, settings, tmp_path / "state.pt")
    for one, other in zip(whole, resumed, strict=True):
        assert (one.outcome, one.steps_to_target) == (other.outcome, other.steps_to_target)
        assert len(one.history) == len(other.history)
        for a, b in zip(one.history, other.history, strict=True):
            assert (a.epoch, a.step) == (b.epoch, b.step)
            # BatchNorm on few pixels enlarges rounding, which differs with memory alignment.
            assert a.train_loss == (b.train_loss if execution == "stacked" else pytest.approx(b.train_loss, rel=1e-7))


@pytest.mark.parametrize("at_its_end", [False, True])
def test_a_race_that_was_stopped_ends_where_it_would_have(at_its_end, tmp_path):
    """Also when it was stopped between its end and the keeping of its rows."""
    settings = dataclasses.replace(SETTINGS, target=Target("train_loss", 0.3), max_epochs=200, race=(0.1, 0.2))
    whole = train("stacked", settings, None)
    ends = max(one.epochs_to_target or 0 for one in whole)
    assert ends > 2
    assert [one.history[-1].epoch for one in whole] == [ends] * len(whole)
    with pytest.raises(StoppedError):
        train("stacked", settings, tmp_path / "state.pt", int(ends) if at_its_end else 2)
    assert list(map(repr, train("stacked", settings, tmp_path / "state.pt"))) == list(map(repr, whole))


def test_augmentation_goes_on_with_the_same_numbers(tmp_path):
    settings = dataclasses.replace(SETTINGS, augmentation="pad_crop_flip", max_epochs=5)
    whole = train("one after another", settings, None)
    with pytest.raises(StoppedError):
        train("one after another", settings, tmp_path / "state.pt", 2)
    resumed = train("one after another", settings, tmp_path / "state.pt")
    for one, other in zip(whole, resumed, strict=True):
        assert [e.train_loss for e in one.history] == pytest.approx([e.train_loss for e in other.history], rel=1e-9)


def test_the_state_of_another_cohort_is_left_alone(tmp_path):
    with pytest.raises(StoppedError):
        train("stacked", SETTINGS, tmp_path / "state.pt", 3)
    other = dataclasses.replace(SETTINGS, momentum=0.5)
    assert train("stacked", other, tmp_path / "state.pt") == train("stacked", other, None)


def test_short_epochs_are_not_kept_one_by_one(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "INTERVAL", 1000.0)
    train("stacked", SETTINGS, tmp_path / "state.pt")
    assert not (tmp_path / "state.pt").exists()


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


def with_a_flipped_bit(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def torch_saved(value: object) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


DAMAGES = {
    "empty": lambda content: b"",
    "truncated": truncated,
    "a bit flipped": with_a_flipped_bit,
    "without its end": lambda content: content[:-1],
    "of other keys": lambda content: torch_saved({"wrong": 1}),
    "a pickle": lambda content: pickle.dumps(print),
    "a text": lambda content: b"hello\n",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_set_aside_by_name_and_the_cohort_starts_over(damage, tmp_path):
    path = tmp_path / "state.pt"
    with pytest.raises(StoppedError):
        train("stacked", SETTINGS, path, 3)
    damaged = DAMAGES[damage](path.read_bytes())
    path.write_bytes(damaged)
    with pytest.warns(UserWarning, match=r"state.pt is damaged .* kept as state.pt.damaged"):
        assert train("stacked", SETTINGS, path) == train("stacked", SETTINGS, None)
    assert (tmp_path / "state.pt.damaged").read_bytes() == damaged


def test_no_half_written_file_stays_behind(tmp_path, monkeypatch):
    def full(value: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space"):
        train("stacked", SETTINGS, tmp_path / "state.pt")
    assert not list(tmp_path.iterdir())
