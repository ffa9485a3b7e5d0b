"""Calibration: timings made from a known model give that model back; real timings here, alone and on two processes."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

import batchscope as bs
from batchscope.errors import InputError
from batchscope.scaling import TimeModel, synchronising
from batchscope.scaling.timings import Timings
from tests.scaling.common import MODEL

LOCAL = (5, 11, 23, 47, 101)
SIZES = (4, 3_000_017)


def made_by(model: TimeModel, processes: int) -> Timings:
    """What timing `model` without noise would give."""
    exchanging = [
        float(synchronising.seconds(model.pattern, processes, size, model.bandwidth, model.latency)) for size in SIZES
    ]
    steps = [float(model.step(processes * size, processes)) for size in LOCAL[2:4]]
    computing = tuple(model.computing(LOCAL).tolist())
    return Timings(processes, "cpu", "gloo", LOCAL, computing, SIZES, tuple(exchanging), tuple(steps))


@pytest.mark.parametrize("pattern", ["ring", "tree"])
@pytest.mark.parametrize("overlap", [1.0, 1.9, 7.0])
@pytest.mark.parametrize("processes", [2, 5])
def test_timings_of_a_known_model_give_it_back(pattern, overlap, processes):
    truth = replace(MODEL, pattern=pattern, overlap=overlap)
    found = TimeModel.through(made_by(truth, processes), truth.num_parameters, pattern=pattern)
    for name in ("overhead", "per_example", "bandwidth", "latency", "overlap"):
        assert getattr(found.model, name) == pytest.approx(getattr(truth, name), rel=1e-6), name
    assert found.error == pytest.approx(0, abs=1e-6)
    assert found.model.measured_workers == processes


def test_the_point_held_out_is_not_used_and_its_error_is_told():
    timings = made_by(MODEL, 2)
    slower = replace(timings, steps=(timings.steps[0], timings.steps[1] * 1.25))
    found, other = (TimeModel.through(each, MODEL.num_parameters) for each in (timings, slower))
    assert replace(found.model, held_out_error=0) == replace(other.model, held_out_error=0)
    assert other.error == pytest.approx(1 / 1.25 - 1)
    assert other.model.held_out_error == other.error
    assert "held out: a step of 47 examples on each of 2 processes" in other.sentence
    assert "(-20%)" in other.sentence
    outlier = replace(timings, computing=(*timings.computing[:3], 10.0, timings.computing[4]))
    assert TimeModel.through(outlier, MODEL.num_parameters).model == found.model


def test_one_process_leaves_the_links_to_what_is_given():
    alone = Timings(1, "cpu", "none", LOCAL, tuple(MODEL.computing(LOCAL).tolist()))
    found = TimeModel.through(alone, MODEL.num_parameters, bandwidth=7.3e8, latency=4.1e-5)
    assert found.model.step(300, [1, 6]) == pytest.approx(MODEL.step(300, [1, 6]), rel=1e-9)
    assert "one process" in found.sentence
    assert found.model.origin == "timed on cpu, one process; links as given"


@pytest.mark.parametrize("processes", [2, 5])
def test_a_step_longer_than_its_parts_is_handling_and_stays_so_on_other_links(processes):
    truth = replace(MODEL, overlap=1.0, handling=0.0031)
    found = TimeModel.through(made_by(truth, processes), truth.num_parameters)
    assert found.model.handling == pytest.approx(0.0031, rel=1e-6)
    assert found.error == pytest.approx(0, abs=1e-6)
    assert "3.1 ms of handling" in str(found.model)
    free = TimeModel.through(made_by(truth, processes), truth.num_parameters, bandwidth=1e15, latency=0.0).model
    assert free.exchanging([1, 2, 64]) == pytest.approx([0, 0.0031, 0.0031], rel=1e-4)


def test_overlap_stays_within_its_limits_whatever_was_timed():
    timings = made_by(MODEL, 2)
    for factor, overlap in ((5.0, 1.0), (0.1, 10.0)):
        wrong = replace(timings, steps=(timings.steps[0] * factor, timings.steps[1]))
        assert TimeModel.through(wrong, MODEL.num_parameters).model.overlap == overlap


def test_latency_below_what_can_be_seen_is_none():
    timings = replace(made_by(MODEL, 2), exchanging=(1e-3, 0.9e-3))  # the larger all-reduce was the faster one
    model = TimeModel.through(timings, MODEL.num_parameters).model
    assert model.bandwidth == float("inf")
    assert model.latency == pytest.approx(1e-3 / 2)


@pytest.fixture
def network():
    torch.manual_seed(3)
    module = bs.architectures.fully_connected(d_in=64, d_out=10, depth=2, width=37)
    return module, F.cross_entropy, torch.randn(53, 64), torch.randint(10, (53,))


def test_timing_alone_leaves_the_network_as_it_was(network):
    module = network[0]
    before = {name: value.clone() for name, value in module.state_dict().items()}
    found = TimeModel.calibrate(*network, processes=1, device="cpu", seconds=0.05, bandwidth=1e9, latency=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(parameter.grad is None for parameter in module.parameters())
    assert found.timings.local_batches == (2, 4, 8, 16, 32)
    assert min(found.timings.computing) > 0
    assert found.model.num_parameters == 64 * 37 + 37 + 37 * 37 + 37 + 37 * 10 + 10
    assert (found.model.bandwidth, found.model.latency, found.model.measured_workers) == (1e9, 1e-5, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"local_batches": (1, 2, 3)}, "expected 5 numbers"),
        ({"local_batches": (5, 4, 3, 2, 1)}, "ascending"),
        ({"processes": 0}, "expected 1 to 128"),
        ({"seconds": 0}, "above 0"),
    ],
)
def test_sizes_that_cannot_be_used_are_refused(network, options, message):
    with pytest.raises(InputError, match=message):
        TimeModel.calibrate(*network, **options)


@pytest.mark.slow
def test_two_processes_with_gloo(network, tmp_path):
    found = TimeModel.calibrate(*network, processes=2, device="cpu", seconds=0.5)
    timings = found.timings
    assert (timings.processes, timings.backend) == (2, "gloo")
    assert len(timings.exchanging) == len(timings.steps) == 2
    assert min(*timings.computing, *timings.exchanging, *timings.steps) > 0
    assert found.measured == timings.steps[1]
    assert found.model.latency > 0
    found.model.save(tmp_path / "model.json")
    assert TimeModel.load(tmp_path / "model.json") == found.model


PROGRAM = """
import sys, torch, torch.nn.functional as F, batchscope as bs
torch.manual_seed(0)
module = bs.architectures.fully_connected(d_in=64, d_out=10, depth=1, width=37)
data = torch.randn(53, 64), torch.randint(10, (53,))
found = bs.scaling.TimeModel.calibrate(module, F.cross_entropy, *data, seconds=0.3)
found.model.save(f"{sys.argv[1]}/{__import__('os').environ['RANK']}.json")
"""


@pytest.mark.slow
def test_under_torchrun_its_own_ranks_are_timed_and_agree(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(program), str(tmp_path)]
    done = subprocess.run(
        [sys.executable, *words],
        env={**os.environ, "PYTHONPATH": str(Path(bs.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, second = (TimeModel.load(tmp_path / f"{rank}.json") for rank in range(2))
    assert first == second
    assert first.measured_workers == 2


def test_importing_the_room_does_not_import_torch():
    code = "import sys, batchscope as bs; bs.scaling.advise; bs.scaling.TimeModel; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


INTERRUPTED = """
import os, signal, sys, threading, torch, torch.nn.functional as F, batchscope as bs
from torch.distributed.elastic.multiprocessing import api

begun = api.PContext.start
def start(self):
    begun(self)
    if sys.argv[1] == "interrupt":
        os.kill(os.getpid(), signal.SIGINT)
api.PContext.start = start

def broken(outputs, targets):
    raise ValueError("this loss is broken")

def calibrate(loss):
    module = bs.architectures.fully_connected(d_in=64, d_out=10, depth=1, width=37)
    bs.scaling.TimeModel.calibrate(module, loss, torch.randn(53, 64), torch.randint(10, (53,)), seconds=0.3)

if __name__ == "__main__":
    try:
        calibrate(broken)
    except KeyboardInterrupt:
        print("interrupted")
    except bs.errors.RunError as error:
        print("this loss is broken" in str(error))
    print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("what", "words"), [("interrupt", "interrupted"), ("break", "True")])
def test_ctrl_c_is_itself_while_processes_are_timed_and_what_ends_them_is_said(tmp_path, what, words):
    """The launcher makes an exception of its own of a signal, and keeps the signals."""
    (tmp_path / "program.py").write_text(INTERRUPTED)
    done = subprocess.run(
        [sys.executable, "program.py", what], cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False
    )
    assert (done.returncode, done.stdout.split()) == (0, [words, "True"]), done.stderr
    assert "SignalException" not in done.stderr
