"""`selftest` finds every planted fault, and agrees where there is none."""

import pytest

from batchscope.analysis.known_answers.planted_checks import PLANTED_CHECKS
from batchscope.cli import selftest

from .mutants import MUTANTS

# Groups that need half a second or less come first: most faults end there.
IN_ORDER = (*PLANTED_CHECKS, *(group for group in selftest.ALL_CHECKS if group not in PLANTED_CHECKS))


def first_wrong():
    """The first check that does not agree, or what went wrong instead of it; None where all agree."""
    for group in IN_ORDER:
        try:
            for check in group():
                if not check.passed:
                    return check.name
        except Exception as error:  # a fault may stop a check: `selftest` then does not end with status 0 either
            return repr(error)
    return None


def test_the_planted_studies_agree():
    wrong = [(check.name, check.got) for group in PLANTED_CHECKS for check in group() if not check.passed]
    assert wrong == []


def test_there_are_many_mutants_and_no_two_alike():
    assert len({mutant.what for mutant in MUTANTS}) == len(MUTANTS) >= 20


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.what)
def test_selftest_finds_the_fault(mutant, monkeypatch):
    mutant.plant(monkeypatch)
    assert first_wrong() is not None
