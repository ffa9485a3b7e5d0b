"""The figures are drawn from the committed rows; the ones in the documents are all there."""

from __future__ import annotations

import pytest

from batchscope.errors import InputError
from batchscope.report.charts.chart import Points
from reproduction import evidence, figures


@pytest.mark.parametrize("name", ["figure2", "lemma1"])
def test_a_figure_is_drawn_from_the_committed_rows(name, tmp_path):
    assert figures.draw(name, tmp_path).stat().st_size > 10_000


@pytest.mark.slow
def test_all_of_them_are(tmp_path):
    figures.main(["--all", "--out", str(tmp_path)])
    assert {path.stem for path in tmp_path.iterdir()} == set(figures.FIGURES)


def test_every_figure_of_the_documents_lies_there_and_is_shown():
    page = (figures.OUT.parent / "reproduction.md").read_text(encoding="utf-8")
    assert set(figures.FIGURES) >= set(figures.DOCUMENTED)
    assert {path.stem for path in figures.OUT.glob("*.png")} >= set(figures.DOCUMENTED)
    assert [name for name in figures.DOCUMENTED if f"(figures/{name}.png)" not in page] == []


def test_every_committed_run_of_a_panel_has_its_figures_which_name_it():
    for directory in evidence.RUNS.values():
        if directory.startswith("figure3"):
            assert directory in figures.FIGURES
    chart, _ = figures.FIGURES["figure4c-adam"]()
    assert chart.caption.endswith(f"Rows: {evidence.EMNIST_ADAM}.")


@pytest.mark.parametrize("given", [evidence.LINEAR, evidence.LINEAR_TUNED])
def test_figure2_shows_the_numbers_of_the_claim(given):
    chart, _ = figures.figure2(given)
    assert chart.caption.endswith(f"Rows: {given}.")
    bounds = [layer.y[0] for layer in chart.panels[0].layers if isinstance(layer, Points)]
    assert bounds == list(evidence.at_the_start(given).values())
    for panel in chart.panels:
        drawn = [y for layer in panel.layers if isinstance(layer, Points) for y in layer.y]
        assert len(drawn) == 10
        assert panel.y.limits[0] < min(drawn) <= max(drawn) < panel.y.limits[1]


def test_the_promise_is_the_same_line_in_every_panel():
    chart, _ = figures.lemma1_ratios()
    rules = [next(layer for layer in panel.layers if layer.name == "1 + δ/2") for panel in chart.panels]
    assert len(rules) == 3
    for rule in rules:
        assert all(y == pytest.approx(1 + x / 2) for x, y in zip(rule.x, rule.y, strict=True))


def test_an_unknown_figure_names_the_closest(tmp_path):
    with pytest.raises(InputError, match="did you mean 'figure2'"):
        figures.draw("figur2", tmp_path)


def test_every_panel_names_what_its_runs_assume():
    for given, words in (
        (evidence.MNIST, "sgd, glorot_uniform weights, relu units, standardised inputs"),
        (evidence.LINEAR, "sgd, glorot_uniform weights, linear units"),
        (evidence.MOMENTUM, "sgd with momentum 0.9, glorot_uniform weights"),
        (evidence.EMNIST_ADAM, "adam, glorot_uniform weights, relu units, standardised inputs, 3 passes counted"),
        (evidence.RESNET18_BLOCKS, "sgd, he weights"),
    ):
        assert figures.assumed(given).startswith(words)
    assert f"Assumed: {figures.assumed(evidence.LINEAR)}." in figures.figure2(evidence.LINEAR)[0].caption
    assert f"Assumed: {figures.assumed(evidence.ADAM)}. Rows" in figures.FIGURES["figure3b-adam"]()[0].caption
