"""Every recipe: a study that survives its file, with the paper's shapes, budgets and targets, and its assumptions."""

from __future__ import annotations

import pytest

import batchscope as bs
from batchscope.errors import InputError
from batchscope.recipes import RECIPES, chen2018, find
from batchscope.studies import read_studies
from batchscope.studies.plan import architectures, cells
from batchscope.studies.study_file import to_toml
from batchscope.studies.trial import DataFacts

MNIST = DataFacts("f" * 16, 60_000, (1, 28, 28), 10, 10)
GISETTE = DataFacts("f" * 16, 6_000, (5000,), 2, 2)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_survives_the_study_file_of_a_run_directory(name):
    studies = find(name)
    assert read_studies(to_toml(*studies)) == studies


@pytest.mark.parametrize("name", [name for name in RECIPES if name.startswith("chen2018")])
def test_a_figure_of_the_paper_states_its_assumptions(name):
    (study,) = find(name)
    assert study.protocol == "paper2018"
    assert study.num_seeds == 5
    assert len(set(study.assumptions)) == len(study.assumptions) >= 5


def test_the_widths_are_those_of_the_papers_text():
    nets = architectures(chen2018.figure3("b"), MNIST)
    assert [(net.depth, net.width) for net in (nets[0], nets[-1])] == [(1, 21), (10, 17)]
    nets = architectures(chen2018.figure3("d"), GISETTE)
    assert [(net.depth, net.width) for net in (nets[0], nets[-1])] == [(1, 52), (10, 48)]
    assert [(net.depth, net.width) for net in architectures(chen2018.figure1(), MNIST)] == [(1, 21), (10, 17)]


def test_the_papers_targets():
    targets = {panel: chen2018.figure3(panel).target for panel in "abcd"}
    assert {panel: target.value for panel, target in targets.items()} == {"a": 1e-12, "b": 0.96, "c": 0.65, "d": 0.95}
    assert [panel for panel, target in targets.items() if target.metric == "train_loss"] == ["a"]


def test_figure3b_is_ten_shapes_at_eight_batch_sizes():
    assert len(cells(chen2018.figure3("b"), MNIST)) == 80


def test_figure2_measures_diversity_and_the_others_do_not():
    assert chen2018.figure2().diversity_every == 5
    assert chen2018.figure3("b").diversity_every == 0


def test_another_data_set_in_a_panel_is_said():
    study = chen2018.figure3("d", "gisette_like")
    assert study.dataset == "gisette_like"
    assert "in place of the paper's 'gisette'" in study.scaled
    assert chen2018.figure3("d", "gisette") == chen2018.figure3("d")


def test_unknown_panels_and_recipes_name_the_closest():
    with pytest.raises(InputError, match="no fully-connected panel 'e'"):
        chen2018.figure3("e")
    with pytest.raises(InputError, match="did you mean 'chen2018/figure3"):
        find("chen2018/figure3")


def test_table1_counts_parameters_from_the_code():
    rows = {(row.dataset, row.model): row for row in chen2018.table1()}
    assert len(rows) == 7
    assert rows["MNIST", "FC"].parameters == (21 * 784 + 21 + 210 + 10, 17 * 784 + 9 * 17**2 + 10 * 17 + 170 + 10)
    assert {f"chen2018/{row.recipe}" for row in rows.values() if row.recipe} <= RECIPES.keys()


def test_the_quickstart_is_wide_to_deep_at_equal_parameters():
    digits, synthetic = bs.recipes.quickstart()
    facts = {
        "digits": DataFacts("f" * 16, 1437, (1, 8, 8), 10, 10),
        "synthetic": DataFacts("f" * 16, 2048, (50,), 1, None),
    }
    for study in (digits, synthetic):
        assert (len(study.batch_sizes), study.num_seeds) == (5, 5)
        weights = [net.num_weights for net in architectures(study, facts[study.dataset])]
        assert max(weights) / min(weights) < 1.06
