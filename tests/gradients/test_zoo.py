"""The zoo in the documents is what measuring gives."""

from pathlib import Path

import pytest

from tests.gradients import zoo

PAGE = Path(__file__).parents[2] / "docs" / "measuring.md"


@pytest.mark.filterwarnings("ignore")
def test_the_zoo_in_the_documents_is_true():
    shown = PAGE.read_text().partition("<!-- zoo -->\n")[2].partition("\n<!-- end of zoo -->")[0]
    assert shown == zoo.table(), "python -m tests.gradients.zoo prints the table"
    assert shown.count("\n") > 60
