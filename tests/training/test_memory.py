"""Memory that runs out: the largest batch that fits is found and said, and a sweep goes on."""

from __future__ import annotations

import pytest
import torch

import batchscope as bs
from batchscope.errors import RunError
from batchscope.records.row import Outcome
from batchscope.training import Member
from batchscope.training.memory import explain_exhaustion, largest_batch
from batchscope.training.modules.network import Network
from tests.training.networks import NETS, SETTINGS, images

FITS = 7


@pytest.fixture
def small_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of more than FITS examples runs out of memory, as it would on a CUDA device."""
    step = Network._step

    def limited(self: Network, indices: torch.Tensor) -> None:
        if len(indices) > FITS:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        step(self, indices)

    monkeypatch.setattr(Network, "_step", limited)


def test_the_largest_batch_is_found_by_halving(small_device: None) -> None:
    arguments = NETS["lenet"], images((2, 16, 17)), SETTINGS, Member(0.1, 0)
    assert largest_batch(*arguments, "cpu") == 6  # 13, 6
    error = explain_exhaustion(*arguments[:3], [Member(0.1, 0)], "cpu")
    assert isinstance(error, RunError)
    assert "at batch size 13" in str(error)
    assert "the largest batch that fitted is 6" in str(error)


def test_a_sweep_goes_on_past_a_batch_that_does_not_fit(small_device: None, tmp_path) -> None:
    values = images((1, 16, 16), 31)
    import numpy as np

    np.savez(tmp_path / "noise.npz", inputs=values.inputs, targets=values.targets)
    study = bs.Study(
        name="tight",
        dataset=str(tmp_path / "noise.npz"),
        family="lenet",
        shapes=((1, 5),),
        batch_sizes=(4, 16),
        target={"train_accuracy": 1.0},
        max_epochs=1,
        num_seeds=1,
        step_sizes=bs.studies.StepSizes(min=0.1, max=0.1),
    )
    results = bs.run(study, tmp_path / "run", executor="inline", device="cpu")
    by_batch = {row.batch_size: row for row in results.rows}
    assert by_batch[4].outcome is Outcome.CENSORED
    assert by_batch[16].outcome is Outcome.CRASHED
    assert "the largest batch that fitted is 4" in by_batch[16].message
