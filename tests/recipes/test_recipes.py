"""Every recipe: a study that survives its file, with the paper's shapes, budgets and targets, and its assumptions."""

from __future__ import annotations

import pytest

import batchscope as bs
from batchscope.analysis.formatting import grouped
from batchscope.architectures import solve_width
from batchscope.errors import InputError
from batchscope.recipes import RECIPES, chen2018, find
from batchscope.recipes.panels import FORMS
from batchscope.studies import read_studies
from batchscope.studies.dataset import DataFacts
from batchscope.studies.plan import architectures, cells
from batchscope.studies.study import to_toml

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
    assert study.num_seeds == 5 or study.scaled
    assert len(set(study.assumptions)) == len(study.assumptions) >= (3 if study.scaled else 5)


@pytest.mark.parametrize("name", [name for name in RECIPES if name.startswith("chen2018")])
def test_what_the_paper_states_is_no_assumption_and_what_differs_from_it_is_one(name):
    (study,) = find(name)
    said = " ".join(study.assumptions)
    assert ("Eq. (3.1) draws with replacement" in said) == (study.sampling == "permutation")
    assert ("plain SGD" in said) == (study.optimizer == "sgd" and not study.momentum)
    assert ("ReLU activations" in said) == (study.family == "fully_connected" and name != "chen2018/figure1")
    named = [line for line in study.assumptions if line.startswith("a budget of")]
    assert all(grouped(study.budget) in line for line in named)
    assert len(named) == (study.family in ("fully_connected", "linear"))


def test_a_smaller_width_than_the_texts_is_said():
    """Its text has 21 units at one layer in Figure 3(c), which 16 384 weights and 47 or 26 classes do not give."""
    for name, classes in (("c", 47), ("c-letters", 26)):
        study = chen2018.figure3(name)
        assert solve_width(study.budget, 1, 784, classes) == 20
        assert any(line.startswith("20 units at one layer") for line in study.assumptions)
    assert not any("20 units at one" in line for line in chen2018.figure3("b").assumptions)


def test_the_widths_are_those_of_the_papers_text():
    nets = architectures(chen2018.figure3("b"), MNIST)
    assert [(net.depth, net.width) for net in (nets[0], nets[-1])] == [(1, 21), (10, 17)]
    nets = architectures(chen2018.figure3("d"), GISETTE)
    assert [(net.depth, net.width) for net in (nets[0], nets[-1])] == [(1, 52), (10, 48)]
    assert [(net.depth, net.width) for net in architectures(chen2018.figure1(), MNIST)][::3] == [(1, 21), (10, 17)]


def test_the_papers_targets():
    targets = {panel: chen2018.figure3(panel).target for panel in "abcdefgh"}
    values = [1e-12, 0.96, 0.65, 0.95, 0.98, 0.95, 0.95, 0.95]
    assert [target.value for target in targets.values()] == values
    assert [panel for panel, target in targets.items() if target.metric == "train_loss"] == ["a"]


def test_figure3b_is_ten_shapes_at_eight_batch_sizes():
    assert len(cells(chen2018.figure3("b"), MNIST)) == 80


def test_figure2_is_the_papers_and_its_runs_are_those_of_figure3a():
    figure2, panel = chen2018.figure2(), chen2018.figure3("a")
    assert (figure2.dataset, figure2.family, figure2.diversity_every) == ("synthetic", "linear", 10)
    same = {"name", "diversity_every"}
    assert {key: value for key, value in figure2.to_dict().items() if key not in same} == {
        key: value for key, value in panel.to_dict().items() if key not in same
    }
    assert chen2018.figure2_mnist().diversity_every == 5


@pytest.mark.parametrize("variant", chen2018.VARIANTS)
def test_a_variant_changes_what_it_says_and_says_what_it_changes(variant):
    one = chen2018.VARIANTS[variant]
    plain, varied = chen2018.figure3("c"), chen2018.figure3("c", variant=variant)
    assert varied.name == f"{plain.name}-{variant}"
    changed = {name for name in type(plain).model_fields if getattr(plain, name) != getattr(varied, name)}
    assert changed - {"name", "assumptions", "scaled"} == set(one.changes)
    assert varied.scaled == one.scaled
    assert len(varied.assumptions) == len(plain.assumptions)
    assert set(varied.assumptions) - set(plain.assumptions) == set(one.said.values())
    if varied.optimizer != plain.optimizer or varied.momentum:
        assert not any(line.startswith("plain SGD") for line in varied.assumptions)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: chen2018.figure3("b", variant="three_passes"), r"not for 'chen2018-figure3b', .* 'EMNIST-47"),
        (lambda: chen2018.figure2("unit"), r"not for 'chen2018-figure2', .* 'inputs standardised"),
        (lambda: chen2018.figure2("running"), r"not for 'chen2018-figure2', .* 'training accuracy"),
        (lambda: chen2018.figure3("g", variant="coarse"), r"\[1, 3, 10\] .* has \[1, 2, 3, 4\] only"),
        (lambda: chen2018.figure3("b", variant="tuned+tuned"), "'tuned' is given twice"),
        (lambda: chen2018.figure3("b", variant="adam+momentum"), "'adam' and 'momentum' both choose step_sizes"),
        (lambda: chen2018.figure3("b", variant="other_grid+nesterov"), "'other_grid' and 'nesterov' both choose"),
        (lambda: chen2018.figure3("b", variant="he+fan_in"), "'he' and 'fan_in' both choose initialisation"),
        (lambda: chen2018.figure3("b", variant="coarse+ends"), "'coarse' and 'ends' both choose num_seeds"),
        (lambda: chen2018.figure3("b", variant="adam+"), "unknown variant ''"),
    ],
)
def test_a_variant_that_does_not_fit_a_figure_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_three_passes_of_the_sample_are_an_epoch_of_balanced():
    study = chen2018.figure3("c", variant="three_passes+running+ends")
    assert (study.passes_per_epoch * 37_600, study.target.metric) == (112_800, "train_accuracy_running")
    assert study.max_epochs > 211


def test_variants_combine_and_wrong_ones_are_named():
    both = chen2018.figure3("c", variant="adam+tuned")
    assert (both.optimizer, both.protocol, both.name) == ("adam", "tuned", "chen2018-figure3c-adam-tuned")
    assert find("chen2018/figure3c", "adam+tuned") == (both,)
    with pytest.raises(InputError, match="unknown variant 'adem': did you mean 'adam'"):
        chen2018.figure2("adem")
    with pytest.raises(InputError, match=r"only the recipes chen2018/.* have variants"):
        find("quickstart", "adam")


def test_another_data_set_in_a_panel_is_said():
    study = chen2018.figure3("d", "gisette_like")
    assert study.dataset == "gisette_like"
    assert "in place of the paper's 'gisette'" in study.scaled
    assert chen2018.figure3("d", "gisette") == chen2018.figure3("d")


def test_unknown_panels_and_recipes_name_the_closest():
    with pytest.raises(InputError, match="no panel 'i'"):
        chen2018.figure3("i")
    with pytest.raises(InputError, match="unknown scale 'tiny'"):
        chen2018.figure3("e", scale="tiny")
    with pytest.raises(InputError, match="'b' of figure 3 has no form 'small'"):
        chen2018.figure3("b", scale="small")
    with pytest.raises(InputError, match="'e' of figure 3 has no form 'night'"):
        chen2018.figure3("e", scale="night")
    with pytest.raises(InputError, match="did you mean 'chen2018/figure3"):
        find("chen2018/figure3")


@pytest.mark.parametrize("name", chen2018.VIEWS)
def test_a_figure_without_runs_of_its_own_says_where_they_are(name):
    for variant in ("", "adam"):
        with pytest.raises(InputError, match=r"shows runs of other figures: .*figure3b"):
            find(name, variant)


def test_the_assumptions_are_all_combinations_and_each_says_what_it_assumes():
    studies = find("beyond/assumptions")
    sets = {(one.optimizer, one.momentum, one.initialisation, one.inputs) for one in studies}
    assert len(sets) == len(studies) == 3 * 2 * 2
    plain = chen2018.figure3("b")
    for study in studies:
        changed = sum(getattr(study, key) != getattr(plain, key) for key in ("initialisation", "inputs"))
        changed += study.optimizer != plain.optimizer or study.momentum != plain.momentum
        assert len(set(plain.assumptions) - set(study.assumptions)) >= changed
        assert (study.depths, study.batch_sizes, study.protocol) == ((10,), (128, 4096), "paper2018")


def test_the_changes_to_a_deep_net_are_one_each_at_equal_weights():
    shallow, deep, *changed = find("beyond/changes")
    digits = DataFacts("f" * 16, 1437, (1, 8, 8), 10, 10)
    weights = [architectures(study, digits)[0].num_weights for study in (shallow, deep, *changed)]
    assert max(weights) / min(weights) < 1.04
    assert architectures(deep, digits) == architectures(find("beyond/rules")[0], digits)[-1:]
    for study in changed:
        different = {key for key in type(deep).model_fields if getattr(study, key) != getattr(deep, key)}
        assert len(different - {"name"}) == 1


def test_table1_counts_parameters_from_the_code():
    rows = {(row.dataset, row.model): row for row in chen2018.table1()}
    assert len(chen2018.table1()) == 8  # ResNet-18 is varied in two ways
    assert len(rows) == 7
    assert rows["MNIST", "LeNet"].parameters[0] == 431_080
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


SMALLER = [(panel, scale) for scale, panels in FORMS.items() for panel in panels]


@pytest.mark.parametrize(("panel", "scale"), SMALLER)
def test_a_smaller_form_says_so_and_keeps_the_papers_question(panel, scale):
    full, small = chen2018.figure3(panel), chen2018.figure3(panel, scale=scale)
    data = (1, 28, 28) if full.dataset == "mnist" else (3, 32, 32)
    facts = DataFacts("f" * 16, small.num_examples or 0, data, 10, 10)
    nets = architectures(small, facts)
    assert small.scaled.startswith(f"{scale}: {small.num_examples} examples")
    assert (small.family, small.target, small.protocol) == (full.family, full.target, full.protocol)
    assert len(nets) == (2 if panel == "h" else 3)
    parameters = [net.num_parameters for net in nets]
    assert max(abs(count / small.budget - 1) for count in parameters) < 0.03
    assert len(cells(small, facts)) == 3 * len(nets)


def test_the_convolutional_panels_are_the_papers_shapes():
    facts = {"e": (1, 28, 28), **dict.fromkeys("fgh", (3, 32, 32))}
    for panel, shape in facts.items():
        study = chen2018.figure3(panel)
        nets = architectures(study, DataFacts("f" * 16, 50_000, shape, 10, 10))
        assert max(abs(net.num_parameters / study.budget - 1) for net in nets) < 0.01
    standard = architectures(chen2018.figure3("h"), DataFacts("f" * 16, 50_000, (3, 32, 32), 10, 10))[2]
    assert standard.label == "resnet34 3-4-6-3 of 64 filters"
