"""Claims of declared variants, read from rows of the same kind: each gives numbers, a verdict and its assumptions."""

from __future__ import annotations

import pytest

from reproduction import claims, evidence, panel_c, variants

# A declared variant -> committed rows of the same shape, whose numbers the claim then shows.
ALIKE = {
    evidence.MOMENTUM: (variants._momentum, "figure3b-adam"),
    evidence.EMNIST_ADAM: (variants._emnist_adam, "figure3c-ends"),
    evidence.EMNIST_MOMENTUM: (variants._emnist_momentum, "figure3c-ends"),
    evidence.EMNIST_GRID: (variants._emnist_grid, "figure3c-ends"),
    evidence.EMNIST_TUNED: (variants._emnist_tuned, "figure3c-ends"),
    evidence.LETTERS: (variants._letters, "figure3c-ends"),
    evidence.GISETTE_LIKE: (variants._gisette_like, "figure3b-adam"),
}
CACHED = (evidence.results, evidence.found, evidence.cell_of)


@pytest.fixture
def lent(monkeypatch):
    """A function that lends a variant the rows of another."""

    def lend(given: str, directory: str) -> None:
        monkeypatch.setitem(evidence.RUNS, given, directory)
        for function in CACHED:
            function.cache_clear()

    yield lend
    monkeypatch.undo()
    for function in CACHED:
        function.cache_clear()


@pytest.mark.parametrize("given", ALIKE)
def test_a_variants_claim_shows_the_numbers_of_its_rows(lent, given):
    function, directory = ALIKE[given]
    lent(given, directory)
    answer = function()
    assert answer.verdict in (evidence.HOLDS, evidence.IN_PART, evidence.FAILS, "undecided")
    assert "Glorot-uniform" in answer.under
    sizes = evidence.batch_sizes(given)
    assert evidence.cell_of(given)[1, sizes[-1]].epochs_text in answer.ours


def test_the_same_rows_give_the_same_answer_under_another_name(lent):
    lent(evidence.EMNIST_ADAM, "figure3c-ends")
    own, other = claims._3c(), panel_c.answer(evidence.EMNIST_ADAM, "x")
    assert (own.ours, own.verdict) == (other.ours, other.verdict)
