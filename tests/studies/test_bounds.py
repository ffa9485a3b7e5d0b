"""What `plan` accepts `run` can store; what it refuses it refuses at once, in a message that fits a screen."""

from __future__ import annotations

import sqlite3

import pytest

from batchscope.architectures import Architecture
from batchscope.data import load
from batchscope.errors import InputError, shown
from batchscope.options import OPTIONS
from batchscope.recipes import find
from batchscope.studies import bounds, read_studies
from batchscope.studies.dataset import DataFacts
from batchscope.studies.plan import cells
from tests.studies.common import SMALL, make_study

REFUSED = {
    "a seed near 2^63": ({"seed": 2**63 - 1}, "seed = 9223372036854775807"),
    "10^20 epochs": ({"max_epochs": 10**20}, "max_epochs = 1"),
    "step sizes of all float64": ({"step_sizes": {"min": 1e-308, "max": 1e308}}, "step_sizes.min = 1e-308"),
    "a ratio near 1": ({"step_sizes": {"min": 0.01, "max": 1.0, "ratio": 1 + 1e-15}}, "step sizes; expected at most"),
    "10^12 examples": ({"num_examples": 10**12}, "num_examples = 1000000000000"),
    "10^12 seeds": ({"num_seeds": 10**12}, "num_seeds = 1000000000000"),
    "2e7 checks an epoch": ({"evaluations_per_epoch": 2 * 10**7}, "evaluations_per_epoch = 20000000"),
    "a width of 2^31": ({"budget": None, "depths": None, "shapes": [(1, 2**31)]}, "shapes.0.1 = 2147483648"),
    "a depth of 10^5": ({"depths": [10**5]}, "depths.0 = 100000"),
    "10^7 layers in all": ({"depths": range(9000, 9400)}, "its cells have 11040600 layers in all"),
    "10^5 batch sizes": ({"batch_sizes": range(1, 10**5)}, "at most 1000 items"),
    "an integer of 5000 digits": ({"budget": 10**5000}, "budget = an integer of about 5001 digits"),
    "a fraction of 5000 digits": ({"momentum": 10**5000}, "momentum = an integer of about 5001 digits"),
    "a key of Python's": ({"self": 1}, "unknown key 'self': did you mean 'seed'"),
    "a NUL": ({"name": "a\0b"}, r"'a\\x00b' holds control characters"),
    "an escape": ({"dataset": "a\x1b[31m"}, "holds control characters"),
    "a long name": ({"name": "a" * 10**6}, "should have at most 200 characters"),
    "a deep list": ({"batch_sizes": [[[[[[1]]]]]]}, "batch_sizes.0"),
    "a text for a number": ({"dataset_options": {"d_in": "x"}}, None),
}


@pytest.mark.parametrize("what", [what for what, (_, message) in REFUSED.items() if message])
def test_what_cannot_be_stored_or_planned_is_refused_in_one_short_message(what):
    changes, message = REFUSED[what]
    with pytest.raises(InputError, match=message) as caught:
        make_study(**changes)
    assert len(str(caught.value)) < 600


def test_20_000_unknown_keys_are_a_short_message():
    with pytest.raises(InputError, match="and 19995 more") as caught:
        make_study(**{f"key{number}": number for number in range(20_000)})
    assert len(str(caught.value)) < 4000


TEXTS = {
    "brackets": ("a = " + "[" * 3000, "is not valid TOML"),
    "an integer of 5000 digits": ("seed = " + "9" * 5000, "is not valid TOML"),
    "an integer of 4000 digits": ("seed = " + "9" * 4000, "seed = an integer of about 400[01] digits"),
    "5000 studies": ("[[studies]]\n" * 5000, "holds 5000 studies; expected at most 1000"),
}


@pytest.mark.parametrize("what", TEXTS)
def test_a_text_that_no_parser_takes_is_an_input_error(what):
    text, message = TEXTS[what]
    with pytest.raises(InputError, match=message) as caught:
        read_studies(f"{text}\n")
    assert len(str(caught.value)) < 1000


def test_files_that_are_no_study_are_not_read(tmp_path):
    (tmp_path / "large.toml").write_bytes(b"#" * (bounds.LARGEST_FILE + 1))
    (tmp_path / "latin1.toml").write_bytes(b"name = '\xe9'")
    (tmp_path / "folder.toml").mkdir()
    for name, message in {
        "large.toml": "larger than 1 MiB",
        "latin1.toml": "expected UTF-8",
        "folder.toml": "is no file",
        "missing.toml": "cannot be read: No such file",
        "x" * 5000: "unknown study",
    }.items():
        with pytest.raises(InputError, match=message) as caught:
            find(str(tmp_path / name))
        assert len(str(caught.value)) < 1000


LARGEST = {name: option.below - 1 for name, option in OPTIONS.items() if type(option.default) is int and option.below}


@pytest.mark.parametrize("name", [name for name in LARGEST if name not in ("filters", "batchnorm_shares")])
def test_the_largest_number_that_is_accepted_fits_the_store(name):
    study = make_study(**{name: LARGEST[name]}, schedule="cosine")
    with sqlite3.connect(":memory:") as store:
        assert store.execute("SELECT ?", [getattr(study, name)]).fetchone() == (LARGEST[name],)


def test_the_largest_count_of_steps_fits_the_store():
    steps = OPTIONS["max_epochs"].below * OPTIONS["passes_per_epoch"].below * bounds.MOST_EXAMPLES
    assert steps < 2**63
    assert bounds.LARGEST_SEED + bounds.MOST_SEEDS < 2**63


def test_all_options_with_numbers_have_an_upper_bound():
    for option in OPTIONS.values():
        if type(option.default) in (int, float):
            assert option.below is not None, option.name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"d_in": 10**9}, "expected at most 268435456"),
        ({"d_in": 10**30}, "expected at most 268435456"),
        ({"num_heldout": 10**12}, "expected at most 268435456"),
        ({"teacher_widths": (10**6, 10**6)}, "expected at most 268435456"),
        ({"d_in": "x"}, "d_in = 'x'; expected a whole number"),
        ({"d_in": True}, "d_in = True; expected a whole number"),
        ({"teacher_widths": 5}, "expected a list of whole numbers"),
        ({"noise": float("nan")}, "noise nan"),
        ({"normalise_targets": 1}, "expected true or false"),
    ],
)
def test_a_generated_set_that_is_too_large_is_refused_before_it_is_drawn(options, message):
    with pytest.raises(InputError, match=message):
        load("synthetic", **options)
    with pytest.raises(InputError, match="expected at most 268435456"):
        load("gisette_like", num_examples=10**9)


def test_a_network_of_more_operations_than_can_be_counted_is_refused():
    study = make_study(family="resnet18_blocks", budget=None, depths=None, shapes=[(9000, 10**7)])
    with pytest.raises(InputError, match="more parameters than can be counted"):
        cells(study, DataFacts("f" * 16, 701, (3, 32, 32), 1, None, 0))


@pytest.mark.parametrize(("depth", "width"), [(10**5, 3), (3, 2**31), (10**400, 3)])
def test_an_architecture_has_the_bounds_of_a_study(depth, width):
    with pytest.raises(InputError, match="in an architecture; expected at most"):
        Architecture("fully_connected", (13,), 1, depth, width)


def test_values_are_shown_short():
    assert shown(12) == "12"
    assert len(shown("x" * 10**7)) < 150
    assert shown(-(10**4000)) == "an integer of about 4001 digits"
    assert shown([10**5000]) == "a list"
    deep: list[object] = []
    for _ in range(10**5):
        deep = [deep]
    assert shown(deep) == "a list"


def test_the_study_of_the_tests_is_as_it_was():
    assert make_study().to_dict()["batch_sizes"] == SMALL["batch_sizes"]
