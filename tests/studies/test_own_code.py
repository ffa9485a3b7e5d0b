"""Networks, data, losses and metrics of the user's own in studies: counted, sized, known by their source, refused."""

from __future__ import annotations

import dataclasses
import importlib
import shutil
import sys

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from batchscope import importing
from batchscope.architectures import Architecture, build
from batchscope.data import load
from batchscope.errors import BatchscopeError, InputError
from batchscope.own_code import files_of, source_of
from batchscope.records.row import Target
from batchscope.running.own_code_check import check_study
from batchscope.studies import Study
from batchscope.studies.dataset import DataFacts
from batchscope.studies.outline import outline
from batchscope.studies.plan import cells, tuning_trial
from batchscope.training import Member, Settings, train_cohort
from tests.studies import own_modules
from tests.studies.own_modules import forget

FACTS = DataFacts("f" * 16, 211, (13,), 3, 3, 0)
BASE = {
    "name": "own",
    "dataset": "digits",
    "num_examples": 37,
    "batch_sizes": [8],
    "shapes": [[1, 4]],
    "target": {"train_loss": 0.1},
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder with the modules of `own_modules`, none of them imported before or after."""
    own_modules.write(tmp_path)
    with own_modules.in_folder(tmp_path, monkeypatch):
        yield tmp_path


def study_of(**values):
    return Study(**{key: value for key, value in (BASE | values).items() if value is not None})


def test_a_function_makes_networks_that_are_counted_and_sized(folder):
    net = Architecture("own_models:perceptron", (13,), 3, depth=2, width=5)
    assert net.num_parameters == 13 * 5 + 5 + 5 * 5 + 5 + 5 * 3 + 3
    assert net.multiply_adds == net.num_weights == 13 * 5 + 5 * 5 + 5 * 3
    assert (net.label, net.output_shape) == ("perceptron 5x2", (3,))
    sized = Architecture.within_budget("own_models:perceptron", (13,), 3, depth=2, budget=400)
    counts = {width: dataclasses.replace(net, width=width).num_parameters for width in range(1, 30)}
    assert sized.width == min(counts, key=lambda width: abs(counts[width] - 400))
    assert Architecture("own_models:by_position", (13,), 3, 2, 5).num_parameters == net.num_parameters


def test_operations_are_those_of_pytorchs_counter_attention_included(folder):
    """Per block and token of width K: 4 K² in attention, 4 K² in the layer; T K products twice for every token."""
    rows, row, width, depth = 5, 7, 12, 2
    net = Architecture("own_models:transformer", (1, rows, row), 3, depth, width)
    linear = rows * (row * width + depth * 8 * width**2) + width * 3
    assert net.multiply_adds == linear + depth * 2 * rows**2 * width
    image = Architecture("own_models:resnet", (2, 5, 7), 3, depth=1, width=3)
    assert image.multiply_adds == 5 * 7 * 9 * (2 * 3 + 3 * 3) + 3 * 3


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("budget", [900, 5000, 30_000])
def test_the_width_is_the_nearest_that_the_function_does_not_refuse(folder, budget, depth):
    name, shape = "own_models:transformer", (1, 8, 8)
    counts = {width: Architecture(name, shape, 10, depth, width).num_parameters for width in range(4, 101, 4)}
    best = min(counts, key=lambda width: (abs(counts[width] - budget), width))
    if abs(counts[best] - budget) <= 0.1 * budget:
        assert Architecture.within_budget(name, shape, 10, depth, budget).width == best
    else:
        with pytest.raises(InputError, match=f"no width meets the budget of {budget} parameters within 10%") as caught:
            Architecture.within_budget(name, shape, 10, depth, budget)
        assert f"width {best} has {counts[best]}" in str(caught.value)


def test_weights_are_those_the_code_draws_and_a_seed_gives_the_same(folder):
    net = Architecture("own_models:transformer", (1, 8, 8), 10, 1, 8)
    before = torch.get_rng_state()
    first, again, other = (build(net, "as_made", seed).state_dict() for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["position"], other["position"])
    assert first["position"].std() < 0.03  # glorot would give 0.35
    assert study_of(family=net.family).initialisation == "as_made"
    assert study_of(family=net.family, initialisation="he").initialisation == "he"
    assert study_of().initialisation == "glorot_uniform"


def test_tied_weights_stay_tied_whatever_draws_them(folder):
    (folder / "own_tied.py").write_text(
        "from torch import nn\n"
        "class Tied(nn.Module):\n"
        "    def __init__(self, depth, width, input_shape, d_out):\n"
        "        super().__init__()\n"
        "        self.a, self.b = nn.Linear(13, 13), nn.Linear(13, 13)\n"
        "        self.b.weight = self.a.weight\n"
        "        self.out = nn.Linear(13, d_out)\n"
        "    def forward(self, x):\n"
        "        return self.out(self.b(self.a(x)))\n"
    )
    net = Architecture("own_tied:Tied", (13,), 3, 1, 1)
    assert net.num_parameters == 13 * 13 + 13 + 13 + 13 * 3 + 3
    module = build(net, "standard_normal", 0)
    assert module.a.weight is module.b.weight
    assert module.a.weight.std() > 0.8


def ids(**values):
    study = study_of(**values)
    return tuning_trial(study, cells(study, FACTS)[0], 0).id


def test_trials_are_known_by_the_code(folder):
    """The function's module and what it imports from its folder; not comments, blank lines, or other files."""
    values = {"family": "own_models:perceptron"}
    first = ids(**values)

    def changed(name, old, new):
        text = own_modules.FILES[name]
        assert old in text
        (folder / name).write_text(text.replace(old, new))
        forget()
        result = ids(**values)
        (folder / name).write_text(text)
        forget()
        return result

    assert changed("own_models.py", "nn.Tanh()", "nn.ReLU()") != first
    assert changed("own_layers.py", "x + self.inner(x)", "x - self.inner(x)") != first
    assert changed("own_models.py", "calls = []", "# all calls\n\n\ncalls = []  # so far") == first
    assert changed("own_data.py", "size=48", "size=49") == first
    assert ids(**values, version="2") != first
    assert ids(family="own_models:by_position") != first


def test_a_file_edited_after_it_was_imported_is_not_the_code_that_runs(folder):
    first = source_of("own_models:perceptron", "family")
    path = folder / "own_models.py"
    path.write_text(path.read_text().replace("nn.Tanh()", "nn.ReLU()"))
    assert source_of("own_models:perceptron", "family") == first
    importlib.reload(sys.modules["own_models"])
    assert source_of("own_models:perceptron", "family") != first


def test_a_study_with_the_hash_of_its_code_needs_no_code_until_it_runs(folder):
    text = study_of(family="own_models:perceptron", loss="own_models:smooth").to_toml()
    (folder / "own_models.py").unlink()
    forget()
    study = Study.from_toml(text)
    assert (len(study.source), len(study.loss_source)) == (16, 16)
    with pytest.raises(InputError, match="no module 'own_models'"):
        _ = cells(study, FACTS)[0].architecture.num_parameters


def test_changed_code_is_refused(folder):
    text = study_of(family="own_models:perceptron").to_toml()
    path = folder / "own_models.py"
    path.write_text(path.read_text().replace("nn.Tanh()", "nn.ReLU()"))
    forget()
    with pytest.raises(InputError, match=r"the code has changed .*; restore it, or run the changed code into another"):
        cells(Study.from_toml(text), FACTS)


def test_a_file_beside_the_study_file_is_found_and_one_named_like_a_module_of_python_refused(folder, monkeypatch):
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    text = study_of(family="lenet").to_toml().replace('"lenet"', '"own_models:late"').replace('activation = "relu"', "")
    (folder / "own.toml").write_text(text)
    assert Study.from_toml(folder / "own.toml").family == "own_models:late"
    (folder / "random.py").write_text("make = 1")
    with pytest.raises(InputError, match=r"random.py, but Python already has a module 'random' \(.*; give your file"):
        study_of(family="random:make")


def settings(**values):
    return Settings(8, Target("train_loss", 1e-9), **({"max_epochs": 2, "initialisation": "as_made"} | values))


def test_dropout_depends_on_seed_epoch_and_step_not_on_company_or_interruption(folder, tmp_path):
    """Also the caller's own random numbers stay as they are."""
    dataset, net = digits(), Architecture("own_models:transformer", (1, 8, 8), 10, 1, 8)
    members, before = [Member(0.1, 1), Member(0.1, 2)], torch.get_rng_state()
    together = train_cohort(net, dataset, settings(), members, execution="one after another")
    alone = [train_cohort(net, dataset, settings(), [member])[0] for member in members]
    assert torch.equal(torch.get_rng_state(), before)
    losses = [[state.train_loss for state in one.history] for one in (*together, *alone)]
    assert losses[:2] == losses[2:]
    assert losses[0][1:] != losses[1][1:]


def digits():
    return load("digits", num_examples=37)


def test_a_loss_and_a_metric_of_ones_own_are_what_is_trained_and_measured(folder):
    net = Architecture("fully_connected", (1, 8, 8), 10, 1, 5)
    values = {"loss": "own_models:smooth", "metric": "own_models:top2", "initialisation": "glorot_uniform"}
    own = dataclasses.replace(settings(**values), target=Target("train_metric_at_least", 0.99))
    for execution in ("one after another", "vectorised"):
        results = train_cohort(net, digits(), own, [Member(0.1, 1), Member(0.2, 1)], execution=execution)
        module, data = build(net, seed=1), digits()
        outputs, targets = module(torch.from_numpy(data.inputs)), torch.from_numpy(data.targets)
        start = results[0].history[0]
        assert start.train_loss == pytest.approx(
            F.cross_entropy(outputs, targets, label_smoothing=0.1).item(), rel=1e-5
        )
        top2 = (outputs.topk(2).indices == targets[:, None]).any(1).float().mean().item()
        assert start.train_metric == pytest.approx(top2, abs=1e-6)
        assert results[0].history[-1].train_loss < start.train_loss
        assert results[0].history[-1].heldout_loss > 0
    assert (
        ids(loss="own_models:smooth") != ids() != ids(metric="own_models:top2", target={"train_metric_at_least": 1.0})
    )


def test_tokens_of_ones_own_reach_an_embedding_and_every_token_has_a_loss(folder):
    changes = {"data": "own_data:words", "dataset": None, "inputs": "tokens", "num_examples": None}
    study = study_of(family="own_models:bigram", **changes)
    assert study.dataset == "own_data:words"
    check_study(study)
    with pytest.raises(InputError, match=r"raised|makes|takes"):
        check_study(study_of(family="own_models:perceptron", **changes))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"family": "own_models:number"}, "is a int: expected a function of"),
        ({"family": "own_data:make"}, r"takes \(seed, size=48\); expected a function of \(depth, width, input_shape"),
        (
            {"family": "own_models:no_module"},
            "depth 1, width 4: the function returned a str; expected a torch.nn.Module",
        ),
        ({"family": "own_models:wavering"}, r"called twice, the function made networks of \d+ and \d+ parameters"),
        ({"family": "own_models:twisted"}, r"makes outputs \[N, 11\] of examples \[N, 1, 8, 8\]; expected \[N, 10\]"),
        (
            {"family": "own_models:one_row"},
            r"the module makes \(20,\) of examples \(2, 1, 8, 8\); expected a tensor with",
        ),
        ({"family": "own_models:frozen"}, "has the parameter '1.weight', which is not trained"),
        ({"family": "own_models:broken"}, "it raised RuntimeError: no such net"),
        ({"family": "own_models:late"}, r"a first step of late 4 on 4 examples .* raised RuntimeError: only on real"),
        (
            {"family": "own_models:constant", "shapes": None, "budget": 900, "depths": [1]},
            "235 parameters at width 1, 235 at width 2; expected more at larger widths: give shapes",
        ),
        (
            {"family": "own_models:perceptron", "shapes": None, "budget": 60, "depths": [1]},
            "no width meets the budget of 60 parameters within 10%: width 1 has 85; change the budget",
        ),
        (
            {"family": "own_models:broken", "shapes": None, "budget": 60, "depths": [1]},
            "depth 1, width 1, .* it raised RuntimeError: no such net",
        ),
        ({"loss": "own_models:mean_loss"}, r"loss 'own_models:mean_loss' returned \(\) for 4 examples; expected one"),
        ({"loss": "smooth"}, "loss = 'smooth'; expected package.module:name of a function of your own"),
        ({"loss": "own_models:calls"}, "is a list; expected a function of"),
        ({"metric": "own_models:top2"}, "expected a metric of your own with the target train_metric_at_least"),
        ({"target": {"train_metric_at_most": 0.5}}, "metric = '' with the target train_metric_at_most; expected"),
        ({"version": "2"}, "version = '2' has no meaning for family 'fully_connected'"),
        ({"initialisation": "as_made"}, "initialisation = 'as_made' has no meaning for family 'fully_connected'"),
        ({"dataset": "own_data:scalar", "num_examples": None}, "'own_data:scalar' returned a int; expected .inputs"),
        ({"dataset": "own_data:fails", "num_examples": None}, "dataset 'own_data:fails' raised KeyError: 'blue'"),
        (
            {"dataset": "own_data:make", "dataset_options": {"colour": 3}},
            "'own_data:make' raised TypeError: .*unexpected keyword argument 'colour'",
        ),
        ({"dataset": "grammar", "family": "lenet"}, "LeNet got examples of shape"),
        ({"dataset": "grammar"}, "family 'fully_connected' does not fit 'grammar'; it takes numbers, not tokens"),
        ({"family": "gpt"}, "gpt got examples of shape .1, 8, 8.; expected sequences"),
    ],
)
def test_what_is_wrong_is_one_message(folder, values, message):
    with pytest.raises(BatchscopeError, match=message) as caught:
        planned(**values)
    assert "\n" not in str(caught.value)


def planned(**values):
    study = study_of(**values)
    check_study(study)
    return outline(study, 1)


def test_own_data_has_the_seed_of_the_study_and_its_held_out_part(folder):
    first, again, other = (load("own_data:make", seed=seed, size=40) for seed in (1, 1, 2))
    assert (first.num_examples, first.num_heldout, first.inputs.shape[1:]) == (40, 8, (2, 5, 7))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert np.array_equal(first.inputs, again.inputs)


def test_the_files_that_another_machine_needs(folder):
    """The module, what it imports from beside it, the packages above; in a folder of their own they hash the same."""
    assert sorted(files_of("own_models:resnet", "family")) == ["own_layers.py", "own_models.py"]
    lab = folder / "own_lab" / "nets"
    lab.mkdir(parents=True)
    (folder / "own_lab" / "__init__.py").write_text("from own_lab.setup import SETTING\n")
    (folder / "own_lab" / "setup.py").write_text("SETTING = 3\n")
    (lab / "wide.py").write_text(
        "from . import parts\n\n\ndef make(depth, width, input_shape, d_out):\n    return parts\n"
    )
    (lab / "parts.py").write_text("import numpy\n")
    found = files_of("own_lab.nets.wide:make", "family")
    assert sorted(found) == [f"own_lab/{name}.py" for name in ("__init__", "nets/parts", "nets/wide", "setup")]
    before = source_of("own_lab.nets.wide:make", "family")
    forget()
    other = folder / "other"
    for name, content in found.items():
        (other / name).parent.mkdir(parents=True, exist_ok=True)
        (other / name).write_bytes(content)
    shutil.rmtree(folder / "own_lab")
    importing.look_in(other)
    assert source_of("own_lab.nets.wide:make", "family") == before


def test_an_installed_package_is_not_copied():
    assert files_of("numpy.linalg:norm", "loss") == {}
