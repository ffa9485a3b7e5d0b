"""Study files: read back as written, and every mistake named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchscope.errors import InputError
from batchscope.records.row import Target
from batchscope.studies import StepSizes, Study, read_studies
from batchscope.studies.study import to_toml

from .common import SMALL, make_study

SURFACE = """
name = "wide-or-deep"
dataset = "mnist"
num_examples = 60000
family = "fully_connected"
activation = "relu"
budget = 16000
depths = [1, 2, 5, 10]
batch_sizes = [32, 128, 512, 2048]
target = { train_accuracy = 0.96 }
max_epochs = 100
evaluations_per_epoch = 1
num_seeds = 5
protocol = "paper2018"
step_sizes = { min = 0.01, max = 2.56, ratio = 2.0 }
optimizer = "sgd"
momentum = 0.0
initialisation = "glorot_uniform"
sampling = "permutation"
dtype = "float32"
seed = 0
diversity_every = 10
"""


def test_the_documented_study_file_is_read_key_by_key():
    study = Study.from_toml(SURFACE)
    assert (study.name, study.dataset, study.depths, study.batch_sizes) == (
        *("wide-or-deep", "mnist"),
        *((1, 2, 5, 10), (32, 128, 512, 2048)),
    )
    assert study.target == Target("train_accuracy", 0.96)
    assert study.step_sizes.values == (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56)
    assert study.diversity_every == 10


def test_a_study_survives_toml_from_text_and_from_a_file(tmp_path):
    study = make_study(assumptions=('quotes " and \\ and ü and \x7f', "two\nlines"), scaled="yes")
    path = tmp_path / "study.toml"
    path.write_text(study.to_toml(), encoding="utf-8")
    assert Study.from_toml(study.to_toml()) == study == Study.from_toml(path) == Study.from_dict(study.to_dict())


@given(
    name=st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=200),
    target=st.floats(1e-300, 1e300),
    options=st.dictionaries(
        st.text("ab c.é", min_size=1), st.booleans() | st.integers(-(2**40), 2**40) | st.text("x'\"")
    ),
)
def test_any_study_survives_toml(name, target, options):
    study = make_study(name=name, target={"train_loss": target}, dataset_options=options)
    assert Study.from_toml(study.to_toml()) == study


def test_several_studies_share_a_file(tmp_path):
    studies = (make_study(name="one"), make_study(name="two", seed=5))
    assert read_studies(to_toml(*studies)) == studies
    with pytest.raises(InputError, match="2 studies where one is expected"):
        Study.from_toml(to_toml(*studies))
    with pytest.raises(InputError, match="two studies of one name"):
        read_studies(to_toml(studies[0], studies[0]))


def test_the_grid_is_the_same_floats_everywhere():
    assert StepSizes(min=0.1, max=1.0, ratio=10**0.5).values == (0.1, 0.316227766017, 1.0)
    assert StepSizes(min=0.3, max=0.3).values == (0.3,)
    assert StepSizes(min=0.01, max=0.05).values == (0.01, 0.02, 0.04)


MISTAKES = [
    ({"batchsizes": [3]}, "unknown key 'batchsizes': did you mean 'batch_sizes'"),
    ({"step_sizes": {"min": 0.1, "maximum": 1.0}}, "unknown key 'step_sizes.maximum': did you mean 'max'"),
    ({"batch_sizes": []}, "batch_sizes: the list is empty"),
    ({"batch_sizes": None}, "the key 'batch_sizes' is missing"),
    ({"batch_sizes": [8, 8]}, "repeated"),
    ({"batch_sizes": [0]}, "batch_sizes.0 = 0: .*greater than or equal to 1"),
    ({"batch_sizes": ["8"]}, "batch_sizes.0 = '8': .*integer"),
    ({"batch_sizes": [True]}, "batch_sizes.0 = True: .*integer"),
    ({"target": {"train_acuracy": 0.9}}, "unknown metric 'train_acuracy': did you mean 'train_accuracy'"),
    ({"target": {"train_accuracy": 96}}, "expected a fraction in"),
    ({"target": {"train_loss": float("nan")}}, "expected a positive number"),
    ({"target": {"train_loss": "0.1"}}, "expected a positive number"),
    ({"target": 0.9}, "expected one of { train_accuracy = value }"),
    ({"target": {"train_loss": 0.1, "train_accuracy": 0.9}}, "expected one of { train_accuracy = value }"),
    ({"budget": None}, "expected budget with depths, or shapes"),
    ({"depths": None}, "expected budget with depths, or shapes"),
    ({"shapes": [[1, 2]]}, "expected budget with depths, or shapes"),
    ({"activation": "rellu"}, "activation 'rellu' in family 'fully_connected'; expected relu or tanh"),
    ({"protocol": "paper"}, "unknown protocol 'paper': did you mean 'paper2018'"),
    ({"family": "linear", "activation": "tanh"}, "activation 'tanh' in family 'linear'; expected linear: leave it out"),
    ({"optimizer": "adam", "momentum": 0.9}, "no meaning for optimizer 'adam'"),
    ({"momentum": float("nan")}, "momentum = nan"),
    ({"step_sizes": {"min": 1.0, "max": 0.1}}, "expected min <= max"),
    ({"step_sizes": {"min": 1e-9, "max": 1.0, "ratio": 1.0001}}, "expected at most 100"),
    ({"step_sizes": {"min": float("inf"), "max": 1.0}}, "step_sizes.min = inf"),
    ({"num_seeds": 0}, "num_seeds = 0"),
    ({"protocol": "fixed"}, "expected sum_step_size, and no step_sizes"),
    ({"race": True}, "race = true with protocol 'paper2018'"),
    ({"protocol": "tuned", "race": "yes"}, "race = 'yes': .*boolean"),
    ({"sum_step_size": 0.1}, "sum_step_size is for protocol 'fixed'"),
    *[
        (
            {"protocol": "fixed", "sum_step_size": 0.1, "step_sizes": None, "optimizer": name},
            f"with optimizer '{name}', ",
        )
        for name in ("adam", "adamw", "rmsprop", "adagrad", "adadelta", "lars", "lamb")
    ],
    ({"schedule_epochs": 5}, "schedule_epochs = 5 with schedule 'constant'"),
    ({"max_epochs": 3, "warmup_epochs": 3}, "leaves nothing of max_epochs = 3"),
    ({"schedule": "cosine", "schedule_epochs": 2, "warmup_epochs": 2.5}, "leaves nothing of schedule_epochs = 2"),
    ({"inputs": "standardized"}, "unknown inputs 'standardized': did you mean 'standardised'"),
    ({"target": {"train_accuracy_running": 96}}, "train_accuracy_running = 96; expected a fraction in"),
    ({"seed": -1}, "seed = -1"),
    ({"dataset_options": {"seed": 3}}, "'seed' is no data set option"),
    ({"name": ""}, "name = ''"),
]


@pytest.mark.parametrize(("change", "message"), MISTAKES, ids=[message[:40] for _, message in MISTAKES])
def test_a_mistake_is_one_message_that_names_it(change, message):
    values = {key: value for key, value in (SMALL | change).items() if value is not None}
    with pytest.raises(InputError, match=message) as caught:
        Study.from_dict(values)
    assert "pydantic" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"protocol": "fixed", "sum_step_size": 0.1, "step_sizes": None, "optimizer": "nesterov"},
        {"max_epochs": 3, "warmup_epochs": 2.5, "schedule": "linear"},
        {"protocol": "tuned", "race": True},
        {"schedule": "cosine", "schedule_epochs": 500, "warmup_epochs": 3},
    ],
)
def test_what_goes_together_is_taken(change):
    values = {key: value for key, value in (SMALL | change).items() if value is not None}
    study = Study.from_dict(values)
    assert all(getattr(study, key) == value for key, value in change.items() if value is not None)


def test_all_mistakes_are_named_at_once():
    with pytest.raises(InputError, match=r"study 'small': max_epochs = -1.*; num_seeds = 0"):
        make_study(num_seeds=0, max_epochs=-1)


@pytest.mark.parametrize("text", ["name = ", "name = 'a'\nname = 'b'\n", "studies = [3]\n"])
def test_bad_toml_is_an_input_error(text):
    with pytest.raises(InputError):
        Study.from_toml(text)


def test_a_missing_or_binary_study_file_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        Study.from_toml(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not valid TOML"):
        Study.from_toml(tmp_path / "binary.toml")
