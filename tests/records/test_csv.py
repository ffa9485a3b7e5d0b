"""CSV: what is read back is what was written, and no text is a formula to a spreadsheet."""

import csv
import io
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchscope.records.csv_text import CHUNK, csv_lines, csv_text
from batchscope.records.export import export
from batchscope.records.plain import runs
from batchscope.records.rows import Rows
from tests.report import factory

FORMULAS = ("=1+1", "+49 30", "-2", "@SUM(A1)", "\t=1", "\r=1", "'quoted'", "''", "=", 'a "b", c\nd', "plain", "", "é")
TEXTS = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=9)


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


@given(st.lists(st.one_of(TEXTS, st.sampled_from(FORMULAS)), min_size=1, max_size=7))
def test_texts_come_back_and_none_is_a_formula(messages):
    rows = [replace(factory.crashed(seed=seed), message=message) for seed, message in enumerate(messages)]
    cells = [line["message"] for line in read("".join(csv_text(Rows.of(rows), ("seed", "message"))))]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert [cell.removeprefix("'") for cell in cells] == messages


@given(st.lists(st.one_of(st.none(), st.floats(), st.integers(-(2**62), 2**62)), min_size=1, max_size=7))
def test_numbers_come_back_to_the_last_digit_signs_and_all(numbers):
    lines = csv_lines([numbers, ["x"] * len(numbers)]).splitlines()
    for line, number in zip(lines, numbers, strict=True):
        cell = line.removesuffix(",x")
        assert cell == "" if number is None or not math.isfinite(number) else type(number)(cell) == number


def test_every_row_is_there_in_order_whatever_the_pieces():
    rows = [replace(factory.row(), seed=seed, step_size=0.1 + seed / 7) for seed in range(2 * CHUNK + 3)]
    lines = read("".join(csv_text(Rows.of(rows), ("seed", "step_size", "input_shape", "outcome"))))
    assert [int(line["seed"]) for line in lines] == [row.seed for row in rows]
    assert [float(line["step_size"]) for line in lines] == [row.step_size for row in rows]
    assert {line["input_shape"] for line in lines} == {"x".join(map(str, rows[0].input_shape or ()))}
    assert {line["outcome"] for line in lines} == {rows[0].outcome.value}
    six = read("".join(csv_text(Rows.of(rows), ("step_size",), digits=6)))
    assert [float(line["step_size"]) for line in six] == pytest.approx([row.step_size for row in rows], rel=5e-6)


def test_no_rows_leave_the_heads():
    assert "".join(csv_text(Rows.of([]), ("seed", "message"))) == "seed,message\n"


def test_names_like_formulas_come_back_from_an_export(tmp_path):
    rows = [replace(factory.row(), study=name, seed=seed) for seed, name in enumerate(["=1+1", "-2", "'tis", "plain"])]
    export(rows, tmp_path / "rows.csv")
    assert {row.seed: row.study for row in runs(tmp_path / "rows.csv")} == {row.seed: row.study for row in rows}
