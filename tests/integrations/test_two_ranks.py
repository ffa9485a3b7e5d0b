"""Both callbacks on two processes (torchrun, gloo): their shares are the batch of one process, and one rank speaks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integrations.oracle import events

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("two ranks")]  # both wait for each other: not side by side
ROOT = Path(__file__).parents[2]
WHICH = ("hf", "lightning")


def ran(which, folder, ranks, *more):
    """What every rank told."""
    pytest.importorskip({"hf": "transformers", "lightning": "lightning"}[which])
    folder.mkdir(parents=True)
    start = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"] if ranks > 1 else []
    command = [sys.executable, *start, "-m", "tests.integrations.two_ranks_program", which, str(folder), *more]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(ranks)]


@pytest.mark.parametrize("which", WHICH)
def test_the_shares_of_two_ranks_are_the_batch_of_one_and_rank_0_alone_logs(which, tmp_path):
    (one,) = ran(which, tmp_path / "one", 1)
    both = ran(which, tmp_path / "two", 2)
    assert len(one["history"]) == 12
    assert [rank["lost"] for rank in both] == [[], []]
    for step, (count, squares, _) in one["history"].items():
        shares = [rank["history"][step] for rank in both]
        assert [share[0] for share in shares] == [count // 2] * 2
        # each example's gradient is the same on whatever process: S1 adds up, exactly by its definition
        assert sum(share[1] for share in shares) == pytest.approx(squares, rel=2e-3)
        # the gradient sums of the shares add up to the batch's: their norms are within the triangle inequality of it
        roots = [share[2] ** 0.5 for share in shares]
        whole = one["history"][step][2] ** 0.5
        assert abs(roots[0] - roots[1]) * 0.99 <= whole <= sum(roots) * 1.01
    assert both[0]["weights"] == pytest.approx(one["weights"], rel=1e-5)
    assert both[0]["weights"] == both[1]["weights"]
    if which == "hf":
        assert both[0]["logged"] == one["logged"] == [10.0] * 12  # the batch of all ranks

    steps = {name: len(values) for name, values in events(tmp_path / "two").items() if "batchscope/batch_size" in name}
    assert list(steps.values()) == [12]  # once, not once a rank
    assert {value for name in steps for _, value in events(tmp_path / "two")[name]} == {10.0}
    assert len((tmp_path / "two/noise.csv").read_text().splitlines()) == 13
    assert both[1]["said"] == []
    if which == "hf":
        assert len(both[0]["said"]) == len(one["said"]) == 1


@pytest.mark.parametrize("which", WHICH)
def test_ranks_agree_on_a_batch_that_grows(which, tmp_path):
    """Each measures its own examples; were each to follow its own, one would wait for the other for ever."""
    both = ran(which, tmp_path / "two", 2, "grow")
    counts = [[count for count, _, _ in rank["history"].values()] for rank in both]
    assert counts[0] == counts[1]
    assert max(counts[0]) > counts[0][0]
    assert both[0]["weights"] == both[1]["weights"]
