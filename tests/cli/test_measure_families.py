"""`batchscope measure` of every family, as a process of its own where what a user types is the point."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from batchscope.architectures import FAMILIES, Architecture, build
from batchscope.cli.main import main
from batchscope.gradients import measure


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A data set of 7 colour images of 17 x 17 pixels, 3 classes, as a file."""
    rng = np.random.default_rng(5)
    path = tmp_path_factory.mktemp("data") / "images.npz"
    np.savez(path, inputs=rng.normal(size=(7, 3, 17, 17)).astype("float32"), targets=np.arange(7) % 3)
    return str(path)


def batchscope(*words, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "batchscope", "measure", *words], capture_output=True, text=True, cwd=cwd, check=False
    )


def record(capsys, *words):
    assert main(["measure", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys, *words):
    assert main(["measure", *words]) == 2
    return capsys.readouterr().err


@pytest.mark.system
def test_a_process_prints_parts_and_writes_the_figure(images, tmp_path):
    words = ("--model", "resnet18", "--data", images, "--filters", "3", "--norm", "group_norm")
    done = batchscope(*words, "--by", "block", "--figure", "blocks.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "resnet18 2-2-2-2 of 3 filters group_norm" in done.stdout
    rows = [line.split()[0] for line in done.stdout.splitlines()[3:-1]]
    chunks = [f"layer{chunk}.{block}" for chunk in range(1, 5) for block in range(2)]
    assert rows == ["block", "stem", *chunks, "fc", "total"]
    assert (tmp_path / "blocks.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.system
def test_json_of_a_process_holds_the_parts(images):
    done = batchscope("--model", "lenet", "--data", images, "--dtype", "float64", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert list(found["by_block"]) == ["conv1", "conv2", "fc.0", "fc.2"]
    assert list(found["by_kind"]) == ["stem convolution", "convolution", "fully connected", "head"]
    for parts in (found["by_kind"].values(), found["by_block"].values()):
        assert sum(part["sum_sq_norms"] for part in parts) == pytest.approx(found["sum_sq_norms"], rel=1e-12)
        assert sum(part["sq_norm_sum"] for part in parts) == pytest.approx(found["sq_norm_sum"], rel=1e-12)
        assert sum(part["share"] for part in parts) == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("by", ["module", "kind", "block"])
def test_the_table_is_by_what_was_asked_for(by, images, capsys):
    assert main(["measure", "--model", "lenet", "--width", "5", "--data", images, "--by", by]) == 0
    assert capsys.readouterr().out.splitlines()[3].split()[0] == by


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_measured_in_its_standard_depth(family, images, capsys):
    small = {"resnet18_head": ["--filters", "3", "--width", "5"], "fully_connected": []}.get(family, ["--width", "3"])
    norm = ["--norm", "group_norm"] if family.startswith("resnet") else []
    data = ["grammar", "--num-examples", "64"] if FAMILIES[family].takes_tokens else [images]
    found = record(capsys, "--model", family, "--data", *data, *small, *norm)
    assert found["batch_size_bound"] > 0
    if family == "resnet34_blocks":
        assert len(found["by_block"]) == 1 + 3 + 4 + 6 + 3 + 1


def test_the_standard_width_is_the_default(images, capsys):
    found = record(capsys, "--model", "lenet", "--data", images)
    # Images of 17 x 17 leave one pixel of each of 50 filters.
    assert sum(part["num_parameters"] for part in found["by_kind"].values()) == 20 * 76 + 50 * 501 + 500 * 51 + 3 * 501


def test_an_alias_is_the_standard_network(images, capsys):
    words = ("--data", images, "--norm", "group_norm", "--dtype", "float64")
    short = record(capsys, "--model", "resnet34", "--filters", "3", *words)
    long = record(capsys, "--model", "resnet34_blocks", "--depth", "3", "--width", "3", *words)
    assert short["by_parameter"] == long["by_parameter"]


def test_a_checkpoint_and_the_number_of_filters(images, tmp_path, capsys):
    net = build(Architecture("resnet18_head", (3, 17, 17), 3, 2, 5, norm="batch_norm", filters=3), seed=7)
    torch.save(net.state_dict(), tmp_path / "net.pt")
    words = ("--model", "resnet18_head", "--depth", "2", "--width", "5", "--filters", "3", "--data", images)
    found = record(capsys, *words, "--checkpoint", str(tmp_path / "net.pt"), "--batchnorm", "eval")
    arrays = np.load(images)
    inputs = (arrays["inputs"] - arrays["inputs"].mean((0, 2, 3), keepdims=True)) / arrays["inputs"].std(
        (0, 2, 3), keepdims=True
    )
    report = measure(net, F.cross_entropy, (inputs, arrays["targets"].astype("int64")), batchnorm="eval")
    assert found["batch_size_bound"] == pytest.approx(report.batch_size_bound, rel=1e-3)
    assert "net.pt" in found["about"]


def test_the_number_of_examples_at_once_does_not_matter(images, capsys):
    words = ("--model", "lenet", "--width", "5", "--data", images, "--dtype", "float64")
    bounds = [record(capsys, *words, "--batch-size", str(size))["batch_size_bound"] for size in (2, 7)]
    assert bounds[0] == pytest.approx(bounds[1], rel=1e-9)


def test_batchnorm_is_refused_with_its_choices(images, capsys):
    error = refused(capsys, "--model", "resnet18", "--filters", "3", "--data", images)
    assert "bn1" in error
    assert "microbatch" in error


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--model", "lenet", "--norm", "group_norm"], "norm 'group_norm' in family 'lenet'; expected none"),
        (["--model", "lenet", "--filters", "5"], "filters = 5 in family 'lenet'"),
        (["--model", "resnet18", "--filters", "5", "--width", "7"], "--filters and --width both"),
        (["--model", "resnet18", "--filters", "5", "--budget", "7000"], "--filters and --budget both"),
        (["--model", "resnet18_head", "--filters", "0"], "--filters 0: expected at least 1"),
        (["--model", "resnet18", "--activation", "tanh"], "expected relu"),
        (["--model", "resnet18", "--depth", "0"], "depth = 0"),
        (["--model", "resnet118"], "did you mean 'resnet18'"),
        (["--model", "torch.nn:Identity", "--depth", "3", "--norm", "group_norm"], "--depth, --norm with --model"),
        (["--model", "lenet", "--figure", "net.gif"], "net.gif: expected a name that ends in .png, .svg or .pdf"),
        (["--model", "lenet", "--batch-size", "0"], "--batch-size 0: expected at least 1"),
    ],
)
def test_what_does_not_go_together_is_refused(words, what, images, capsys):
    error = refused(capsys, *words, "--data", images)
    assert what in error
    assert "Traceback" not in error


@pytest.mark.system
def test_a_process_refuses_with_status_2(images):
    for words in (["--model", "lenet", "--data", "digits"], ["--model", "lenet", "--data", images, "--by", "shape"]):
        done = batchscope(*words)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
