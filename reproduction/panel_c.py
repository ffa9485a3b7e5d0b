"""Figure 3(c), EMNIST: epochs at B = 4096 by two readings of training accuracy, against the 9 and 211 of the text."""

from __future__ import annotations

import statistics

from batchscope.analysis.formatting import number
from batchscope.records import Row, Rows
from reproduction.evidence import (
    HOLDS,
    IN_PART,
    TWO_EPOCHS,
    Answer,
    epochs,
    found,
    is_near,
    results,
    times_as_many,
    verdict_of,
)
from reproduction.markdown import table

THREE_PASSES = "EMNIST-47 (reduced), three passes counted as an epoch"
THE_PAPERS = {1: 9, 10: 211}  # depth -> epochs
NEVER = float("inf")


def answer(given: str, under: str, rule: str = TWO_EPOCHS) -> Answer:
    """Epochs of the widest and the deepest net at B = 4096.

    It holds where, by either reading, the medians over seeds are near both numbers of the paper, and in part where the
    deeper net is certainly the slower.
    """
    readings = [{depth: statistics.median(met(given, depth)) for depth in THE_PAPERS} for met in (_running, _at_end)]
    near = any(all(is_near(reading[depth], told, told) for depth, told in THE_PAPERS.items()) for reading in readings)
    ends = (f"{', '.join(map(_words, _at_end(given, depth)))} at L = {depth}" for depth in THE_PAPERS)
    return Answer(
        f"65 % running over an epoch's batches, as Keras prints it: {epochs(given, 1, 4096)} at K = {_width(given, 1)},"
        f" {epochs(given, 10, 4096)} at K = {_width(given, 10)}; at the end of an epoch of the same runs, one by one: "
        + "; ".join(ends)
        + f"; epochs of the deeper over the wider, all batch sizes, {times_as_many(found(given)['F2'])}",
        HOLDS if near else IN_PART if _deeper_is_slower(given) == HOLDS else _deeper_is_slower(given),
        f"{under}, standardised inputs, ReLU, Glorot-uniform, {rule}",
    )


def _deeper_is_slower(given: str) -> str:
    """The verdict on the direction alone."""
    return verdict_of(found(given)["F2"])


def _width(given: str, depth: int) -> int:
    return next(row.width for row in results(given).rows if row.depth == depth)


def _finals(given: str, depth: int) -> Rows:
    return Rows.of(results(given).rows).where(phase="final", depth=depth, batch_size=4096)


def _running(given: str, depth: int) -> list[float]:
    """Epochs of every run to the target, which is the running accuracy; infinite where it did not arrive."""
    return [NEVER if row.epochs_to_target is None else row.epochs_to_target for row in _finals(given, depth)]


def _at_end(given: str, depth: int) -> list[float]:
    """The first epochs at whose end the target is met, run by run; infinite where none is before the run ends."""
    return [_first_at_end(row) for row in _finals(given, depth)]


def _first_at_end(row: Row) -> float:
    return next((one.epoch for one in row.history if one.train_accuracy >= row.target_value), NEVER)


def _words(epoch: float) -> str:
    return "not before" if epoch == NEVER else number(epoch)


def runs(given: str) -> list[str]:
    """What became of every run of ten layers, by both readings."""
    finals = Rows.of(results(given).rows).where(phase="final", depth=10)
    heads = (
        "B",
        "step size",
        "seed",
        "outcome",
        "epochs run",
        "best running",
        "best at an end",
        "last at an end",
        "first met at an end",
    )
    return table(heads, [_run(row) for row in sorted(finals, key=lambda row: (row.batch_size, row.seed))])


def _run(row: Row) -> tuple[str, ...]:
    after = row.history[1:]
    running, at_ends = max(one.train_accuracy_running for one in after), [one.train_accuracy for one in after]
    percent = (f"{100 * share:.1f} %" for share in (running, max(at_ends), at_ends[-1]))
    ran = (row.outcome.value, number(row.epochs_run))
    return (str(row.batch_size), number(row.step_size), str(row.seed), *ran, *percent, _words(_first_at_end(row)))
