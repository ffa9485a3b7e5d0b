"""Rows from plain numbers, and the analysis on them: the same answers as from the rows of a study."""

import csv
import math
from operator import itemgetter

import pytest

import batchscope as bs
from batchscope.analysis.digest import digest
from batchscope.analysis.known_answers.oracles import NoisyQuadratic, QuadraticStudy
from batchscope.errors import InputError
from batchscope.records.codec import encode
from batchscope.records.export import export
from batchscope.records.plain import unknowns
from batchscope.records.row import Outcome


def study(power=0.5, shape="flat", depth=1):
    model = NoisyQuadratic.of_size(100, power=power)
    sizes, step_sizes = [2**k for k in range(3, 11)], [2.0**k for k in range(-7, 1)]
    return QuadraticStudy(
        model, sizes, step_sizes, num_examples=4096, evaluations_per_epoch=8, shape=shape, depth=depth, seed=depth
    ).rows(history=True)


ROWS = [row for row in study() + study(1.0, "steep", 2) if row.phase == "final"]


def columns_of(rows, *left_out):
    """Plain columns that say of rows what matters to thresholds."""
    table = {
        "shape": [row.shape for row in rows],
        "Batch Size": [row.batch_size for row in rows],
        "seed": [row.seed for row in rows],
        "steps": [row.steps_to_target or row.steps_run for row in rows],
        "epochs": [row.epochs_to_target or row.epochs_run for row in rows],
        "steps_before": [max((e.step for e in row.history if not row.steps_to_target or e.step < row.steps_to_target),
                             default=0) for row in rows],
        "outcome": [row.outcome for row in rows],
        "num_examples": [row.num_examples for row in rows],
        "checks": [8] * len(rows),
        "depth": [row.depth for row in rows],
        "num_weights": [row.num_weights for row in rows],
        "comment": ["whatever"] * len(rows),
    }  # fmt: skip
    return {name: entries for name, entries in table.items() if name not in left_out}


def write(path, table):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(table)
        writer.writerows(zip(*table.values(), strict=True))
    return path


@pytest.mark.parametrize("definition", ["b_crit", "paper2018", "overhead_20", "within_epochs(10)", "within_steps(100)"])
def test_plain_numbers_give_the_thresholds_of_the_rows_they_stand_for(definition, tmp_path):
    table = columns_of(ROWS)
    expected = bs.batch_threshold(ROWS, definition)
    for source in (table, write(tmp_path / "runs.csv", table), bs.runs(table)):
        found = bs.batch_threshold(source, definition)
        assert list(found) == list(expected)
        for shape, one in expected.items():
            assert (found[shape].text, found[shape].interval_text) == (one.text, one.interval_text)


def test_verdict_findings_and_gate_of_plain_numbers_are_those_of_the_rows(tmp_path):
    table = columns_of(ROWS)
    verdict, expected = bs.compare(table), bs.compare(ROWS)
    assert (verdict.decision, verdict.probability) == (expected.decision, expected.probability)
    assert verdict.condition == expected.condition
    decisions = [(one.name, one.decision) for one in bs.analysis.findings(ROWS) if "2(" not in one.name]
    assert [(one.name, one.decision) for one in bs.analysis.findings(table) if "2(" not in one.name] == decisions


def test_what_is_not_said_is_not_claimed(tmp_path):
    table = columns_of(ROWS, "num_weights", "depth", "num_examples", "checks", "epochs")
    rows = bs.runs(table)
    assert "numbers of weights not given" in bs.compare(rows).condition
    assert "equal parameters" not in bs.compare(rows).condition
    assert len(unknowns(rows)) == 3
    with pytest.raises(InputError, match="column num_weights"):
        bs.compare(rows, equal="flops")
    one = digest(rows)
    assert "equal parameters" not in one.headline.sentence
    assert not [found for found in one.findings if "equal parameters" in found.statement + found.sentence]
    assert [found.statement for found in digest(ROWS).findings if "equal parameters" in found.statement]
    assert one.headline.sentence.startswith("To the target,")
    assert "step sizes are not given" in one.tuning.statement
    assert all(verdict.equal != "flops" for verdict in one.exploratory)
    # without the number of examples, steps decide, and B_crit does not change
    for shape, fit in bs.fit(rows).items():
        assert fit.b_crit == pytest.approx(bs.fit(ROWS, shape).b_crit, rel=1e-6)
    assert not unknowns(ROWS)


def test_an_exported_csv_is_read_as_it_was(tmp_path):
    export(ROWS, tmp_path / "all.csv")
    rows = bs.runs(tmp_path / "all.csv")
    expected = sorted(map(encode, ROWS), key=itemgetter("trial_id"))  # NaN is None there, so that it equals itself
    assert list(map(encode, rows)) == expected


def test_shapes_without_depth_keep_their_order_but_wide_and_deep_are_who_they_are():
    def shapes(*names):
        rows = [(name, size) for name in names for size in (8, 16)]
        table = {"shape": [n for n, _ in rows], "batch_size": [b for _, b in rows], "steps": [b + 9 for _, b in rows]}
        return list(bs.batch_threshold(table, "b_crit")), [cell.shape for cell in digest(bs.runs(table)).table]

    assert shapes("z", "a") == (["z", "a"], ["z", "z", "a", "a"])
    assert shapes("deep", "x", "wide")[0] == ["wide", "x", "deep"]


def test_of_several_step_sizes_in_a_cell_the_fastest_is_reported():
    table = {
        "batch_size": [8] * 6,
        "lr": [0.1, 0.1, 0.2, 0.2, 0.4, 0.4],
        "steps": [90, 95, 50, 55, 40, 100],
        "reached": ["yes", "yes", "yes", "yes", "yes", "no"],
    }
    rows = bs.runs(table)
    finals = [row for row in rows if row.phase == "final"]
    assert [(row.step_size, row.steps_to_target, row.seed) for row in finals] == [(0.2, 50, 1), (0.2, 55, 2)]
    assert any("fastest is reported" in note for note in unknowns(rows))


def test_outcomes_epochs_and_checks():
    table = {
        "batch_size": [10, 10, 10, 10],
        "epochs": [3, 5, "", ""],
        "outcome": ["reached", "censored", "diverged", "crashed"],
        "n": [95] * 4,
    }
    rows = list(bs.runs(table))
    assert [row.outcome for row in rows] == list(Outcome)
    assert (rows[0].epochs_to_target, rows[0].steps_to_target) == (3, 30)  # ten steps an epoch, the last one short
    assert (rows[1].epochs_to_target, rows[1].steps_run, rows[1].max_epochs) == (None, 50, 5)
    assert {row.evaluations_per_epoch for row in rows} == {10}
    whole = list(bs.runs({"batch_size": [10, 20], "epochs": [3, 5.0]}, num_examples=95))
    assert {row.evaluations_per_epoch for row in whole} == {1}
    assert all(math.isnan(row.step_size) for row in whole)


GOOD = {"shape": ["a", "a"], "batch_size": [8, 16], "seed": [1, 1], "steps": [90, 50]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": None}, r"no column 'batch_size'.*--column batch_size=YOURS"),
        ({"steps": None}, r"no column 'steps' or 'epochs'"),
        ({"batch_size": [8, "many"]}, r"line 3: batch_size = 'many'; expected a whole number"),
        ({"batch_size": [8, ""]}, r"line 3: no batch_size"),
        ({"batch_size": [8, 0]}, r"batch_size = '0'"),
        ({"steps": [90, -1]}, r"steps = '-1'; expected a number above 0"),
        ({"steps": [90, ""]}, r"line 3: neither steps nor epochs"),
        ({"reached": ["yes", "perhaps"]}, r"reached = 'perhaps'; expected yes or no"),
        ({"outcome": ["reached", "lost"]}, r"outcome = 'lost'; expected reached, censored"),
        ({"batch_size": [8, 8]}, r"lines 2 and 3: two runs of shape 'a', batch size 8, seed 1"),
        ({"seed": [1]}, r"columns of different lengths"),
    ],
)
def test_columns_that_cannot_be_used_are_named_with_the_remedy(changes, message):
    table = {name: entries for name, entries in (GOOD | changes).items() if entries is not None}
    with pytest.raises(InputError, match=message):
        bs.batch_threshold(table)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read"),
        ("", "no lines of runs"),
        ("shape,batch_size,steps\n", "no lines of runs"),
        ("batch_size,steps\n8,90\n8\n", "line 3: 1 cells under 2 heads"),
        ("trial_id,outcome,steps_run\na,reached,9\n", "no complete export"),
    ],
)
def test_files_that_cannot_be_used(text, message, tmp_path):
    path = tmp_path / "runs.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=message):
        bs.runs(path)


def test_a_fit_says_that_its_curve_does_not_describe_the_runs():
    sizes, good = [32, 128, 512, 2048], [1060, 340, 160, 115]
    assert "describe" not in str(bs.fit_critical_batch(sizes, good))
    assert "describe" not in str(bs.fit_critical_batch(sizes * 2, good + [s * 1.05 for s in good]))
    bent = [1060, 340, 60, 115]
    text = str(bs.fit_critical_batch(sizes, bent))
    assert "may not describe the runs: at batch size 512 they take 0.504 times its steps" in text
    text = str(bs.fit_critical_batch(sizes * 2, bent + [s * 1.05 for s in bent]))
    assert "the curve does not describe the runs (lack of fit p = " in text
    assert "at batch size 512" in text
