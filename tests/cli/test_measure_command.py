"""`batchscope measure`."""

import json

import pytest
import torch
import torch.nn.functional as F

from batchscope import architectures, data
from batchscope.cli.main import main
from batchscope.gradients import measure


def output(capsys, *words):
    assert main(["measure", *words]) == 0
    return capsys.readouterr().out


def test_json_holds_what_measure_says(capsys):
    record = json.loads(
        output(capsys, "--model", "fully_connected", "--data", "digits", "--dtype", "float64", "--json")
    )
    shape = architectures.Architecture("fully_connected", (64,), 10, 2, 19)
    digits, model = data.load("digits"), architectures.build(shape, dtype=torch.float64)
    report = measure(model, F.cross_entropy, (digits.inputs.astype("float64"), digits.targets))
    assert record["num_examples"] == digits.num_examples
    assert record["batch_size_bound"] == pytest.approx(report.batch_size_bound, rel=1e-9)
    assert record["by_module"]["0"]["sum_sq_norms"] == pytest.approx(report.by_module["0"].sum_sq_norms, rel=1e-9)
    assert record["interval"] is None


def test_a_subset_gives_an_interval_for_the_whole(capsys):
    text = output(capsys, "--model", "fully_connected", "--data", "digits", "--num-examples", "300")
    assert "from 300 of 1437 examples" in text


def test_a_model_of_ones_own_with_a_checkpoint(capsys, tmp_path, monkeypatch):
    (tmp_path / "mine_for_measure.py").write_text(
        "from torch import nn\n\ndef make():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
    )
    monkeypatch.chdir(tmp_path)
    zeros = {"1.weight": torch.zeros(10, 64), "1.bias": torch.zeros(10)}
    torch.save({"state_dict": zeros}, "zeros.pt")
    words = ("--model", "mine_for_measure:make", "--data", "digits", "--checkpoint", "zeros.pt", "--coverage")
    text = output(capsys, *words)
    # All classes equally likely: ‖∂loss/∂bias‖² = 0.9² + 9·0.1² = 0.9 for every example; 1437 examples.
    record = json.loads(output(capsys, *words, "--json"))
    assert record["by_parameter"]["1.bias"]["sum_sq_norms"] == pytest.approx(0.9 * 1437, rel=1e-5)
    assert "linear (outer)" in text


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--model", "fully_conected"], "did you mean 'fully_connected'"),
        (["--model", "nowhere:make"], "no module 'nowhere'"),
        (["--model", "math:pi"], "expected a torch.nn.Module"),
        (["--model", "fully_connected", "--checkpoint", "missing.pt"], "not found"),
    ],
)
def test_unusable_input_is_one_message_and_status_2(words, what, capsys):
    assert main(["measure", *words, "--data", "digits"]) == 2
    error = capsys.readouterr().err
    assert what in error
    assert "Traceback" not in error
