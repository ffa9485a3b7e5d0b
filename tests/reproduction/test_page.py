"""REPRODUCTION.md says what the committed rows say."""

from __future__ import annotations

import pytest

from batchscope.recipes import find
from batchscope.studies import read
from reproduction import claims, page


def test_the_page_is_the_one_that_the_rows_give():
    assert page.text() == page.PAGE.read_text(encoding="utf-8"), "run python -m reproduction.page"


@pytest.mark.parametrize(("recipe", "directory"), claims.RUNS.items())
def test_the_committed_rows_are_those_of_the_recipe_as_it_is(recipe, directory):
    (asked,), found = find(recipe), read(claims.RESULTS / directory)
    assert found.study.to_dict() == asked.to_dict()
    finals = [row for row in found.rows if row.phase == "final"]
    assert len(finals) == len(asked.batch_sizes) * len(asked.depths) * asked.num_seeds


def test_the_readme_says_what_the_page_says():
    readme = (page.PAGE.parent / "README.md").read_text(encoding="utf-8")
    for recipe in claims.RUNS:
        evidence = claims.found(recipe)["F2"].evidence
        assert f"{evidence.num_faster} of {evidence.num_compared}" in " ".join(readme.split())
