"""Tables, folders of Hugging Face's datasets, text, and the grammar whose entropy is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from batchscope.data import load
from batchscope.data.seeding import Stream, generator
from batchscope.data.sets.grammar import ALPHABET, entropy_rate, sentence
from batchscope.errors import BatchscopeError

TABLE = "x,side,y,count\n0.5,left,1e-3,3\n-1,right,2,1\n4,left,7,0\n"


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "table.csv").write_text(TABLE)
    return "table.csv"


def test_a_csv_file_has_its_columns_as_inputs_and_one_as_target(table):
    found = load(table, target="side", standardise="raw")
    with pytest.raises(BatchscopeError, match="no column 'sides': did you mean 'side'"):
        load(table, target="sides")
    assert found.inputs.tolist() == np.float32([[0.5, 1e-3, 3], [-1, 2, 1], [4, 7, 0]]).tolist()
    assert (found.targets.tolist(), found.num_classes) == ([0, 1, 0], 2)  # left, right: alphabetical
    chosen = load(table, target="y", columns=["count", "x"], standardise="raw")
    assert chosen.inputs.tolist() == [[3, 0.5], [1, -1], [0, 4]]
    assert (chosen.num_classes, chosen.targets.ravel().tolist()) == (None, np.float32([1e-3, 2, 7]).tolist())
    assert load(table, target="count", columns=["x"]).num_classes == 4


def test_a_parquet_file_gives_what_the_same_csv_file_gives(table, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    csv = pytest.importorskip("pyarrow.csv")
    parquet.write_table(csv.read_csv(tmp_path / table), tmp_path / "table.parquet")
    for target in ("side", "y", "count"):
        options = {"target": target, "columns": ["x"]}
        assert load("table.parquet", **options).fingerprint == load(table, **options).fingerprint


def test_held_out_rows_are_another_file(table, tmp_path):
    (tmp_path / "other.csv").write_text("side,x,y,count\nright,1,2,3\n")
    found = load(table, target="side", heldout="other.csv", standardise="raw")
    assert (found.heldout_inputs.tolist(), found.heldout_targets.tolist()) == ([[1, 2, 3]], [1])
    (tmp_path / "other.csv").write_text("side,x,y,count\nup,1,2,3\n")
    with pytest.raises(BatchscopeError, match="held-out part: the target 'side' has 'up', which the training part"):
        load(table, target="side", heldout="other.csv")


def test_a_folder_of_datasets_has_its_splits_and_images_channels_first(tmp_path):
    datasets = pytest.importorskip("datasets")
    images = np.arange(2 * 5 * 7 * 3).reshape(2, 5, 7, 3)
    part = datasets.Dataset.from_dict({"image": images.tolist(), "label": [1, 0]})
    datasets.DatasetDict({"train": part, "test": part.select([0])}).save_to_disk(str(tmp_path / "saved"))
    found = load(tmp_path / "saved", standardise="raw")
    assert np.array_equal(found.inputs, images.transpose(0, 3, 1, 2))
    assert (found.targets.tolist(), found.heldout_targets.tolist()) == ([1, 0], [1])


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (TABLE, {}, r"which column is the target\? It has the columns x, side, y, count"),
        (
            TABLE,
            {"target": "x"},
            r"no numbers in the column 'side' \('left' in row 1\); turn texts into numbers, or name",
        ),
        (TABLE, {"target": "x", "columns": ["z"]}, "no column 'z' for the inputs"),
        (TABLE, {"target": "x", "columns": 3}, "columns = 3; expected a list"),
        ("a,b\n1,2\n3\n", {"target": "a"}, "line 3 has 1 entries; expected 2, as the line of names has"),
        ("a,a\n1,2\n", {"target": "a"}, "a column name is repeated in a, a"),
        ("a,b\n", {"target": "a"}, "1 lines; expected a line of column names"),
        ("a,b\n1,\n2,3\n", {"target": "a"}, r"no numbers in the column 'b' \('' in row 1\)"),
        ("a,b\n1,nan\n2,3\n", {"target": "a"}, "1 NaN or infinite values"),
    ],
)
def test_what_is_wrong_with_a_table_is_one_message(table, text, options, message):
    with open(table, "w") as file:
        file.write(text)
    with pytest.raises(BatchscopeError, match=message) as caught:
        load(table, **options)
    assert "\n" not in str(caught.value)


def test_text_is_cut_into_sequences_whose_targets_are_the_next_bytes(tmp_path):
    content = bytes(range(7, 107))
    (tmp_path / "any.bin").write_bytes(content)
    found = load(f"text:{tmp_path / 'any.bin'}", sequence_length=11, heldout=0.25)
    assert found.inputs.dtype == found.targets.dtype == np.int64
    assert found.inputs.ravel().tolist() == list(content[:66])  # 6 x 11 of the first 75, one byte left for the target
    assert found.targets.ravel().tolist() == list(content[1:67])
    assert (found.num_heldout, found.heldout_inputs[0, 0]) == (2, content[75])
    assert (found.is_tokens, found.positions, found.d_out) == (True, (11,), 256)
    with pytest.raises(BatchscopeError, match="75 tokens make no sequence of 75; take a longer text"):
        load(f"text:{tmp_path / 'any.bin'}", sequence_length=75, heldout=0.25)


def test_the_entropy_of_the_grammar_is_that_of_its_sentences():
    """-log p of a sentence has the entropy as its mean: two independent means, their ratio within 4 standard errors."""
    draw = generator(0, Stream.GRAMMAR, 99)
    texts, logs = zip(*(sentence(draw) for _ in range(4000)), strict=True)
    lengths, bits = np.array(list(map(len, texts))), -np.array(logs)
    rate = bits.sum() / lengths.sum()
    error = (bits - rate * lengths).std() / math.sqrt(len(bits)) / lengths.mean()
    assert abs(rate - entropy_rate()) < 4 * error < 0.02
    assert set("".join(texts)) <= set(ALPHABET)


def test_the_grammar_is_the_same_for_a_seed_and_other_for_its_held_out_part():
    first, again, other = (load("grammar", seed=seed, num_examples=13) for seed in (0, 0, 1))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert not np.array_equal(first.inputs[0], first.heldout_inputs[0])
    assert np.array_equal(first.inputs[:, 1:], first.targets[:, :-1])
