"""Panels that were run whole, their findings in the documents, and one of them again on another processor."""

from __future__ import annotations

import contextlib
import re

import pytest

from batchscope.records import Rows
from batchscope.records.packed import connected
from reproduction import claims, evidence, processors
from reproduction import page as page  # registers every claim

VERDICT = {one.id: one for one in evidence.CLAIMS}


@pytest.mark.parametrize("given", evidence.GRIDS)
def test_a_grid_is_whole(given):
    finals = Rows.of(evidence.results(given).rows).where(phase="final")
    cells = finals.group_by("depth", "batch_size")
    assert {depth for depth, _ in cells} == set(range(1, 11))
    assert {size for _, size in cells} == {2**k for k in range(5, 13)}
    assert {len(rows) for rows in cells.values()} == {5}


def test_every_grid_has_a_line_for_each_finding():
    for name in claims.FINDINGS:
        ids = [name if given == evidence.LINEAR else f"{name}, {grid.data}" for given, grid in evidence.GRIDS.items()]
        lines = [one for one in evidence.CLAIMS if one.id in ids]
        assert [one.recipe for one in lines] == list(evidence.GRIDS)


def test_the_guide_says_what_the_lines_say():
    guide = (page.PAGE.parent / "docs" / "wide_or_deep.md").read_text(encoding="utf-8")
    for given, grid in evidence.GRIDS.items():
        (line,) = re.findall(rf"^\| {re.escape(grid.data)}(?: \(.*\))? \|.*", guide, re.MULTILINE)
        told = [cell.strip() for cell in line.split("|")[2:-1]]
        ids = (name if given == evidence.LINEAR else f"{name}, {grid.data}" for name in claims.FINDINGS)
        assert told == [VERDICT[one].answer().verdict for one in ids]


def test_what_another_processor_chose_is_what_its_rows_say():
    chosen = []
    for directory in ("figure3c-letters-coarse", "figure3c-letters"):
        path = evidence.RESULTS / directory / "results-1of1.sqlite.gz"
        with contextlib.closing(connected(path)) as file:
            query = "SELECT DISTINCT depth, batch_size, step_size FROM rows WHERE phase = 'final'"
            chosen.append({(depth, size): step for depth, size, step in file.execute(query)})
    moved = {at for at in chosen[0] if chosen[0][at] != chosen[1][at]}
    assert set(processors.differing()) == moved
    assert f"another at {len(moved)} of {len(chosen[0])}" in processors._processor().ours
    first, second = (evidence.results(given).runs[0]["machine"] for given in processors.BOTH)
    assert first != second


@pytest.mark.parametrize(
    ("low", "value", "high", "verdict"),
    [
        (200, 300, 400, evidence.HOLDS),
        (67, 144, 280, "undecided"),
        (67, 144, 200, evidence.FAILS),
        (300, 400, 500, evidence.FAILS),
        (260, 270, 280, evidence.HOLDS),
    ],
)
def test_a_threshold_of_the_text_is_met_near_it_and_else_open_where_the_interval_holds_it(low, value, high, verdict):
    class Found:
        interval, ordering = (low, high), value

    assert claims._is_told(Found(), 256) == verdict
