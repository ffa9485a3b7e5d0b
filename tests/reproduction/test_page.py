"""REPRODUCTION.md says what the committed rows say."""

from __future__ import annotations

import shutil
import sqlite3

import pytest

from batchscope.errors import InputError
from batchscope.recipes import find
from batchscope.records.packed import unpack
from batchscope.studies import read
from reproduction import easier_target, evidence, markdown, page, tables


def test_the_page_is_the_one_that_the_rows_give():
    assert page.text() == page.PAGE.read_text(encoding="utf-8"), "run python -m reproduction.page"


def test_the_tables_of_the_documents_are_those_that_the_rows_give():
    page_text = tables.PAGE.read_text(encoding="utf-8")
    assert set(markdown.names(page_text)) == set(tables.TABLES)
    assert tables.text() == page_text, "run python -m reproduction.page"


def test_a_block_is_filled_between_its_comments_and_nowhere_else():
    page_text = "a\n<!-- rows: one -->\nold\n<!-- end -->\nb 3\n"
    found = markdown.filled(page_text, {"one": lambda: markdown.table(("x", "y|z"), [("1", "2")])})
    assert found == "a\n<!-- rows: one -->\n\n| x | y/z |\n| --- | --- |\n| 1 | 2 |\n\n<!-- end -->\nb 3\n"
    assert markdown.filled(found, {"one": lambda: markdown.table(("x", "y|z"), [("1", "2")])}) == found
    with pytest.raises(InputError, match="did you mean 'one'"):
        markdown.filled("<!-- rows: onn -->\n<!-- end -->", {"one": list})


@pytest.mark.parametrize(("given", "directory"), evidence.RUNS.items())
def test_the_committed_rows_are_those_of_the_recipe_as_it_is(given, directory):
    studies, found = find(*given.split(" --variant ")), read(evidence.RESULTS / directory)
    assert [study.to_dict() for study in found.studies] == [study.to_dict() for study in studies]
    for study in studies:
        finals = [row for row in found.of(study.name).rows if row.phase == "final"]
        assert len(finals) == len(study.batch_sizes) * len(study.depths or study.shapes) * study.num_seeds


@pytest.mark.parametrize("directory", evidence.RUNS.values())
def test_no_committed_run_names_a_folder_of_the_machine_that_made_it(directory):
    for run in read(evidence.RESULTS / directory).runs:
        assert not any(word.startswith("/") for word in run["command"])


def test_a_claim_whose_runs_are_not_made_is_not_tested_and_says_what_to_run(monkeypatch):
    monkeypatch.setattr(evidence, "CLAIMS", [])
    monkeypatch.setitem(evidence.DECLARED, "chen2018/figure3b --variant he+ends", "nowhere")
    for given in ("chen2018/figure3b --variant he+ends", evidence.MNIST, ""):
        evidence.claim("id", "words", given)(lambda: evidence.Answer("ours", evidence.HOLDS))
    assert [one.answer().verdict for one in evidence.CLAIMS] == [evidence.NOT_TESTED, evidence.HOLDS, evidence.HOLDS]


@pytest.mark.parametrize("given", evidence.DECLARED)
def test_every_declared_run_is_a_recipe_and_has_a_claim(given):
    assert find(*given.split(" --variant "))
    assert given in {one.recipe for one in evidence.CLAIMS}


def test_a_run_that_was_interrupted_answers_nothing(tmp_path):
    of = evidence.RESULTS / evidence.RUNS[evidence.LINEAR_TUNED]
    whole, part = tmp_path / "whole", tmp_path / "part"
    for to in (whole, part):
        shutil.copytree(of, to)
    file = part / "results-1of1.sqlite"
    unpack(file)
    with sqlite3.connect(file) as database:
        database.execute("DELETE FROM rows WHERE key = (SELECT max(key) FROM rows WHERE phase = 'final')")
    assert evidence.is_whole(whole)
    assert not evidence.is_whole(part)
    assert not evidence.is_whole(tmp_path)


def test_every_committed_directory_is_declared():
    committed = {path.name for path in evidence.RESULTS.iterdir() if path.is_dir()}
    assert committed - {"gpt"} <= set(evidence.DECLARED.values())


def test_the_rows_stay_small():
    assert sum(file.stat().st_size for file in evidence.RESULTS.rglob("*") if file.is_file()) < 12e6


def test_the_readme_says_what_the_page_says():
    readme = (page.PAGE.parent / "README.md").read_text(encoding="utf-8")
    for given in (evidence.LINEAR, evidence.MNIST, evidence.EMNIST_WHOLE):
        of = evidence.ratios_of(evidence.found(given)["F2"])
        assert f"{of.num_faster} of {of.num_compared}" in " ".join(readme.split())
    linear, mnist, emnist = (
        evidence.ratios_of(evidence.found(given)["F2"])
        for given in (evidence.LINEAR_TUNED, evidence.MNIST_TUNED, evidence.EMNIST_WHOLE_TUNED)
    )
    assert linear.num_compared == mnist.num_compared == emnist.num_compared
    counts = f"{linear.num_faster}, {mnist.num_faster} and {emnist.num_faster} of {linear.num_compared}"
    assert counts in " ".join(readme.split())
    for depth in (1, 10):
        assert evidence.epochs(evidence.EMNIST_WHOLE_TUNED, depth, 4096).removesuffix(" (n = 5)") in readme
    near = [level for level in easier_target.LEVELS if easier_target.is_near_text(level)]
    assert f"at {100 * near[0]:.0f} to {100 * near[-1]:.0f} % accuracy" in " ".join(readme.split())
