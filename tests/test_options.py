"""Options: what a declaration says is what validation, identities and the documentation do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from batchscope.architectures import Architecture
from batchscope.errors import InputError
from batchscope.option import identity, offer, option
from batchscope.options import OPTIONS
from batchscope.records.row import Target
from batchscope.studies import Study
from batchscope.studies.keys import renewed, table
from batchscope.training.settings import Settings

BASE = {"batch_size": 7, "target": Target("train_loss", 0.5)}
DOCUMENT = Path(__file__).parents[1] / "docs" / "studies.md"


@dataclass(frozen=True, kw_only=True)
class Later(Settings):
    """Settings as they would be with two options more."""

    decay: float = option(0.0, "of the weights", at_least=0, below=1, formerly=0.0, optimizers=("sgd",))
    schedule: str = option("cosine", "of step sizes", choices=("constant", "cosine"), formerly="constant")


def test_an_option_at_its_former_value_is_not_part_of_the_identity():
    before = identity(Settings(**BASE))
    assert identity(Later(**BASE, schedule="constant")) == before
    assert identity(Later(**BASE)) == before | {"schedule": "cosine"}
    assert identity(Later(**BASE, schedule="constant", decay=0.5)) == before | {"decay": 0.5}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"decay": -0.5}, "decay = -0.5; expected a number at least 0 and below 1"),
        ({"decay": 1.0}, "decay = 1.0; expected"),
        ({"decay": float("nan")}, "decay = nan; expected"),
        ({"decay": "0.5"}, "decay = '0.5'; expected"),
        ({"decay": True}, "decay = True; expected"),
        ({"max_epochs": 3.0}, "max_epochs = 3.0; expected an integer at least 1"),
        ({"schedule": "cosin"}, "unknown schedule 'cosin': did you mean 'cosine'"),
        ({"schedule": 3}, "schedule = 3; expected one of 'constant', 'cosine'"),
        ({"optimizer": "agd"}, "unknown optimizer 'agd': did you mean 'sgd'"),
    ],
)
def test_impossible_values_are_named(change, message):
    with pytest.raises(InputError, match=message):
        Later(**BASE, **change)


def test_names_may_be_offered_later(monkeypatch):
    monkeypatch.setattr("batchscope.option._OFFERED", {})
    with pytest.raises(LookupError, match="'optimizer'"):
        OPTIONS["optimizer"].problem("agd")
    names = {"sgd": "steps against the gradient"}
    offer("optimizer", names)
    names["agd"] = "with acceleration"
    assert OPTIONS["optimizer"].problem("agd") is None
    assert OPTIONS["optimizer"].domain == "sgd, agd"


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_is_a_key_of_studies_and_reaches_the_training_code(name):
    declared = OPTIONS[name]
    assert Study.model_fields[name].default == declared.default
    settings, net = Settings(**BASE), Architecture("fully_connected", (5,), 3, 2, 7)
    assert hasattr(settings, name) or hasattr(net, name)
    assert f"| `{name}` |" in table()


def test_the_documented_keys_are_those_there_are():
    text = DOCUMENT.read_text(encoding="utf-8")
    assert renewed(text) == text, "run: python -m batchscope.studies.keys docs/studies.md"
    with pytest.raises(ValueError, match="around the table"):
        renewed("no table here")
