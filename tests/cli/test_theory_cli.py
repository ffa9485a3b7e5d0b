"""`batchscope theory` and `batchscope shapes` as a user runs them: real processes, text, JSON, exit statuses."""

import json
import subprocess
import sys

import pytest

from batchscope.cli.main import main
from batchscope.theory import chen2018


def batchscope(*words):
    command = [sys.executable, "-m", "batchscope.cli.main", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, encoding="utf-8")


def as_json(*words):
    done = batchscope(*words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_theory_prints_bounds_ratio_and_layers():
    done = batchscope("theory", "--widths", "784,20,20,1", "--num-examples", "60000")
    assert done.returncode == 0
    for part in (
        "2 hidden layers, 3 weight matrices",
        "40.0745",
        "40.1007",
        "38.2276",
        "18.1206",
        "33.33%",
        "20 x 784",
    ):
        assert part in done.stdout
    assert "nan" not in done.stdout.lower()


def test_theory_json_is_what_the_functions_return():
    widths = (784, 20, 20, 1)
    record = as_json("theory", "--widths", "784,20,20,1", "--num-examples", "60000", "--init", "fan_in")
    assert record["ratio"] == pytest.approx(chen2018.diversity_ratio(widths, 60_000, "fan_in"))
    assert record["ratio_limit"] == pytest.approx(chen2018.diversity_ratio(widths, weight_std="fan_in"))
    assert record["paper_bound"] == pytest.approx(chen2018.theorem3_bound(widths))
    assert record["sharp_bound"] == pytest.approx(chen2018.sharp_bound(widths, "fan_in"))
    assert [layer["share"] for layer in record["layers"]] == pytest.approx(chen2018.layer_shares(widths, "fan_in"))
    assert [layer["ratio"] for layer in record["layers"]] == pytest.approx(chen2018.layer_ratios(widths, 60_000))
    assert (record["num_layers"], record["depth"], record["num_examples"]) == (3, 2, 60_000)


def test_theory_with_biases_noise_and_a_teacher_of_another_scale():
    words = ("--widths", "10,6,5,1", "--num-examples", "100")
    assert as_json("theory", *words, "--bias")["ratio"] == pytest.approx(6.998, abs=5e-4)
    record = as_json("theory", *words, "--init", "0.5,1,2", "--teacher-init", "he", "--label-noise", "0.3")
    expected = chen2018.diversity_ratio((10, 6, 5, 1), 100, (0.5, 1, 2), "he", label_noise=0.3)
    assert record["ratio"] == pytest.approx(expected)


def test_theory_of_a_nonlinear_network():
    record = as_json("theory", "--widths", "20,8,1", "--activation", "tanh")
    assert record["ratio"] == pytest.approx(32.257977755)
    assert record["num_examples"] is None
    assert "32.258" in batchscope("theory", "--widths", "20,8,1", "--activation", "tanh").stdout


def test_theory_says_why_there_is_no_bound():
    record = as_json("theory", "--widths", "784,20,10")
    assert record["paper_bound"] is None
    assert "one output" in record["paper_bound_refused"]
    assert record["ratio"] > 3
    assert "divides by K - 1" in batchscope("theory", "--widths", "50,1,1").stdout


def test_shapes_shows_both_initialisations():
    words = ("--budget", "16000", "--d-in", "784", "--d-out", "10", "--depths", "1-10")
    done = batchscope("shapes", *words)
    assert done.returncode == 0
    assert len([line for line in done.stdout.splitlines() if "%" in line]) == 10
    record = as_json("shapes", *words, "--init", "he", "--num-examples", "60000")
    assert [shape["depth"] for shape in record["shapes"]] == list(range(1, 11))
    assert [shape["width"] for shape in record["shapes"]] == [20, 20, 19, 19, 18, 18, 18, 17, 17, 17]
    for shape in record["shapes"]:
        widths = (784, *[shape["width"]] * shape["depth"], 10)
        assert shape["num_layers"] == shape["depth"] + 1
        assert shape["ratio_standard_normal"] == pytest.approx(chen2018.diversity_ratio(widths, 60_000))
        assert shape["ratio_init"] == pytest.approx(chen2018.diversity_ratio(widths, 60_000, "he"))


def test_shapes_within_a_percentage():
    record = as_json(
        "shapes", "--budget", "16000", "--d-in", "784", "--d-out", "10", "--depths", "1,10", "--within", "3"
    )
    assert [(shape["depth"], shape["width"]) for shape in record["shapes"]] == [(1, 20), (10, 17)]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("theory", "--widths", "784,x,1"), "'x' is not a whole number"),
        (("theory", "--widths", "784,0,1"), "must be >= 1"),
        (("theory", "--widths", "784,20,1", "--init", "glorot_uniform"), "fourth moment"),
        (("theory", "--widths", "784,20,1", "--init", "fanin"), "did you mean 'fan_in'"),
        (("theory", "--widths", "784,20,1", "--init", "1,1,1"), "3 entries for 2 weight matrices"),
        (("theory", "--widths", "784,20,1", "--init", "-1"), "must be a finite number > 0"),
        (("theory", "--widths", "784,20,1", "--num-examples", "many"), "not a whole number of examples"),
        (("theory", "--widths", "784,20,1", "--num-examples", "0"), "must be >= 1"),
        (("theory", "--widths", "784,20,20,1", "--activation", "tanh"), "needs widths D,K,1"),
        (("theory", "--widths", "784,20,1", "--activation", "gelu"), "unknown activation 'gelu'"),
        (("theory", "--widths", "784,20,1", "--activation", "relu", "--bias"), "linear networks"),
        (("shapes", "--budget", "100", "--d-in", "784", "--d-out", "10"), "too small"),
        (("shapes", "--budget", "16000", "--d-in", "784", "--d-out", "10", "--depths", "5-1"), "range '5-1' is empty"),
        (("shapes", "--budget", "16000", "--d-in", "784", "--d-out", "10", "--init", "1,2"), "one scale or a name"),
        (("shapes", "--budget", "16001", "--d-in", "784", "--d-out", "10", "--within", "0"), "no shape of 16001"),
    ],
)
def test_unusable_input_is_one_message_and_status_2(words, reason, capsys):
    assert main(words) == 2
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [("theory", "--widths", "784,0,1"), ("shapes", "--budget", "9", "--d-in", "99", "--d-out", "1")]
)
def test_unusable_input_ends_the_process_without_a_traceback(words):
    done = batchscope(*words, "--json")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert json.loads(done.stdout)["kind"] == "InputError"


@pytest.mark.parametrize("module", ["batchscope.cli.theory", "batchscope.cli.shapes"])
def test_neither_command_imports_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
