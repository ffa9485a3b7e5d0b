"""Requirements: what parses, what is refused, what holds."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchscope.analysis.gate import Comparison, _holds, parse, require
from batchscope.errors import InputError

WIDE = {"shape": "784-20-10 relu", "depth": 1}
DEEP = {"shape": "784-17x10-10 relu", "depth": 10}


@pytest.fixture
def study(rows):
    sizes, checks = [2**k for k in range(5, 12)], {"evaluations_per_epoch": 20, "max_epochs": 60}
    wide = {B: [5.0] * 3 for B in sizes}
    deep = {B: [4.2 * math.hypot(1, B / 100)] * 3 for B in sizes[:-1]} | {2048: [None] * 3}
    return rows(wide, **WIDE, **checks) + rows(deep, **DEEP, **checks)


@pytest.mark.parametrize(
    ("requirement", "holds"),
    [
        ("b_threshold(wide) >= 256", True),
        ("b_threshold(wide) > 256", True),
        ("b_threshold(wide) >= 4096", False),  # "> 2048": not known
        ("b_threshold(wide) <= 4096", False),
        ("b_threshold(wide) < 64", False),
        ("b_threshold(deep) >= 64", True),
        ("b_threshold(deep) > 64", False),
        ("b_threshold(deep) <= 64 and b_threshold(wide) > 64", True),
        ("b_threshold(deep) <= 64 and b_threshold(wide) <= 64", False),
        ("b_threshold('784-17x10-10 relu') == 64".replace("==", ">="), True),
        ("b_threshold(784-17x10-10 relu, within_epochs(5)) >= 64", True),
        ("b_threshold(deep).low >= 64", False),  # three seeds, checked once an epoch
        ("b_threshold(deep).low < 65", True),
        ("b_threshold(deep).high < 65", True),
        ("probability(wide, deep) >= 0.95", True),
        ("probability(deep, wide, within_epochs(5)) > 0.95", False),
        ("b_crit(deep) < 1e6", True),
    ],
)
def test_requirements_on_a_study(study, requirement, holds):
    result = require(study, requirement)
    assert result.passed is holds, result.detail
    assert all(word in " ".join(result.detail) for word in ("found",))


def test_what_cannot_be_decided_fails_and_says_so(study, rows):
    assert "cannot be decided" in require(study, "b_threshold(wide) >= 4096").detail[0]
    assert require([], "b_threshold(wide) >= 1").detail == (
        "b_threshold(wide) >= 1: cannot be decided, no finished runs",
    )
    lost = require(rows({32: [None]}), "b_threshold(net) >= 1")
    assert not lost.passed
    assert "cannot be decided" in lost.detail[0]
    assert lost.as_dict() == {"passed": False, "detail": list(lost.detail)}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("", "cannot read ''"),
        ("b_threshold(wide) = 4", "cannot read"),
        ("b_treshold(wide) >= 4", "did you mean 'b_threshold'"),
        ("b_threshold() >= 4", "0 arguments"),
        ("probability(wide) >= 0.5", "1 arguments.*expected 2 to 3"),
        ("b_threshold(wide, paper2081) >= 4", "did you mean 'paper2018'"),
        ("b_threshold(wide).mean >= 4", "'.low' or '.high'"),
        ("probability(wide, deep).low >= 0.5", "'.low' after probability"),
        ("b_threshold(wide) >= 4 or b_threshold(deep) >= 4", "cannot read 'or"),
        ("b_threshold(wide) >= 4 and", "cannot read ''"),
        ("b_threshold(wide) >= 1e", "expected a number"),
        ("__import__('os').system('true') >= 0", "cannot read"),
    ],
)
def test_unreadable_requirements_quote_the_part(wrong, words):
    with pytest.raises(InputError, match=words):
        parse(wrong)


names = st.sampled_from(["wide", "deep", "784-20-10 relu"])


@given(names, st.sampled_from(["", ".low", ".high"]), st.sampled_from([">=", ">", "<=", "<"]), st.floats(0, 1e6))
def test_what_is_parsed_prints_as_what_was_written(shape, end, operator, number):
    (comparison,) = parse(f" b_threshold({shape}){end}{operator}  {number!r} ")
    assert comparison == Comparison("b_threshold", (shape,), end.lstrip("."), operator, number)
    assert parse(str(comparison))[0].number == pytest.approx(number, rel=1e-5)


@given(st.sampled_from([">=", ">", "<=", "<"]), st.floats(1, 100), st.floats(1, 100), st.floats(1, 100))
def test_a_range_decides_only_what_all_of_it_agrees_on(operator, number, one, other):
    low, high = min(one, other), max(one, other)
    comparison = Comparison("b_threshold", ("wide",), "", operator, number)
    whole = _holds((low, high), comparison)
    if whole is not None and high > low:
        inside = low + (high - low) * 0.5
        assert _holds((inside, inside), comparison) is whole
    assert _holds((math.nan, math.nan), comparison) is None
