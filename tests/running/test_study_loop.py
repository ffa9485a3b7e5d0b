"""Branching from a run of a study: the checkpoint is the study's own, and the branches train on from it."""

import math

import pytest

import batchscope as bs
from batchscope.errors import InputError
from batchscope.running import StudyLoop


@pytest.fixture(scope="module", params=["fully_connected", "resmlp"])
def results(request, tmp_path_factory):
    study = bs.Study(
        name="small", dataset="digits", num_examples=256, family=request.param, shapes=[[1, 8]], batch_sizes=[16, 64],
        num_seeds=2, target={"train_accuracy": 0.999}, max_epochs=4, protocol="tuned", optimizer="adam",
        step_sizes={"min": 0.01, "max": 0.02, "ratio": 2},
    )  # fmt: skip
    return bs.run(study, tmp_path_factory.mktemp("run"), executor="inline")


def test_a_branch_of_the_runs_own_batch_starts_at_the_runs_own_loss(results):
    rows = [row for row in results.rows if row.phase == "final" and row.batch_size == 16]
    row = min(rows, key=lambda one: one.seed)
    for epoch in (0, 2):
        loop = StudyLoop(results, row.shape, 16, epoch)
        assert (loop.batch_size, loop.step_size) == (16, row.step_size)
        reached = next(e.train_loss for e in row.history if e.epoch == epoch)
        still = list(loop.branch(256, 1e-12, 0, 256))  # a step that moves nothing: the loss of the checkpoint
        assert still[-1][1] == pytest.approx(reached, rel=1e-5)


def test_branches_see_the_same_number_of_examples_and_repeat_exactly(results):
    loop = StudyLoop(results, results.rows[0].shape, 16, 1)
    for size in (16, 32, 64):
        curve = list(loop.branch(size, loop.step_size, 3, 512))
        assert curve[-1][0] == 512
        assert len(curve) == 8
        assert curve == list(loop.branch(size, loop.step_size, 3, 512))
        assert all(math.isfinite(loss) for _, loss in curve)
    assert list(loop.branch(16, loop.step_size, 3, 512)) != list(loop.branch(16, loop.step_size, 4, 512))


def test_a_branch_test_of_a_study(results):
    loop = StudyLoop(results, results.rows[0].shape, 16, 1)
    found = bs.branch_test(loop, num_examples=512, ks=(2, 16), seeds=3, rule="constant", tolerance=0.05)
    assert found.branches[1].difference > found.branches[0].difference  # two steps against 32
    assert found.below in (2, 16)
    wild = bs.branch_test(loop, num_examples=256, ks=(16,), seeds=2, rule="linear", tolerance=0.05)
    assert wild.branches[0].step_size == pytest.approx(16 * loop.step_size)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 17}, r"expected one of \[16, 64\]"),
        ({"shape": "none"}, "no shape 'none'"),
        ({"epoch": 5}, "expected 0 to the study's 4"),
        ({"seed": 77}, "no run of .* with seed 77"),
    ],
)
def test_runs_that_there_are_not(results, changes, message):
    given = {"shape": results.rows[0].shape, "batch_size": 16, "epoch": 1}
    with pytest.raises(InputError, match=message):
        StudyLoop(results, **(given | changes))
    loop = StudyLoop(results, **given)
    with pytest.raises(InputError, match="at most the 256"):
        list(loop.branch(512, 0.1, 0, 512))
