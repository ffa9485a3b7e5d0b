"""REPRODUCTION.md from the committed rows: one line for every claim of the paper. Trains nothing.

python -m reproduction.page            writes REPRODUCTION.md, and the tables of docs/reproduction.md; about a minute
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from batchscope.analysis.formatting import duration, grouped
from batchscope.analysis.intervals import CERTAIN
from batchscope.recipes import RECIPES
from batchscope.records import Outcome, Rows
from reproduction import prediction as prediction  # registers them, and the claims before
from reproduction import tables
from reproduction.command import ended
from reproduction.evidence import CLAIMS, NEAR, RUNS, Claim, results
from reproduction.markdown import table

PAGE = Path(__file__).parent.parent / "REPRODUCTION.md"

_HEAD = f"""# The paper, claim by claim

Chen, Wang, Zhao, Koutris and Papailiopoulos, *The Effect of Network Width on the Performance of Large-batch Training*
(NeurIPS 2018): what it says, what this code measures, and whether the claim holds. Every number comes from the rows in
[results](results) or from closed forms: `python -m reproduction.page` writes this page again without training, and a
test compares the two. Intervals are 95 %, of two sides.

Verdicts: *holds*, *holds in part* (some parts do and some do not: the line says where), *does not hold* (under these
assumptions), *undecided* (too few runs to say), *not tested*. A statement that has a probability holds from {CERTAIN:g}
on and does not hold from {1 - CERTAIN:.2f} down, so that an interval of two sides may touch what the verdict excludes.
That wider nets need fewer epochs at the same batch size is asked of the mean over all comparisons, and holds in part
where that mean is decided and more than one in twenty goes certainly the other way, one also as one of so many.
Studies of fewer than four batch sizes cannot show the error that a batch size has of its own (a step size off its
best); 18 % is assumed then, the middle of what the others show. Both rules came after (g) for a night, whose widest net
was certainly the slowest at B = 256 by its seeds alone, and is not with step sizes tuned to the target.
Numbers of the text count as met where ours are within a factor of {NEAR:g}. What the paper does not state is an
assumption of ours, named with every line and printed with every output (`batchscope recipes`); `--variant` changes it.

Epochs are medians over seeds by a censored likelihood, between the check that missed the target and the one that met
it; the paper averages five runs counted in whole epochs, which gives larger numbers, by up to an epoch and by what a
mean exceeds a median. Single runs, in lists, are counted as the paper does. `>`: the median lies beyond the epochs
allowed.

What was tried again after a first answer, with the paper's numbers known, is said so in its line: the grid and the rule
of step sizes of 3(c), easier targets, other assumptions and other data (EMNIST Letters) of 3(b), averages of B_S at
equal epochs on MNIST, the checks of EMNIST Letters, made finer after its F1 had seemed to hold, and the small forms of
(f) to (h), of five seeds after two had left (f) undecided at a probability of 0.94.
"""


def text() -> str:
    """The page."""
    claims = table(("claim", "the paper", "here", "verdict", "under"), map(_words, sorted(CLAIMS, key=_place)))
    return "\n".join([_HEAD, *claims, "", "## The runs", "", *_runs(), ""])


def _words(claim: Claim) -> tuple[str, ...]:
    answer, again = claim.answer(), f" `{claim.recipe}`" if claim.recipe else ""
    return claim.id, f"{claim.paper}{again}", answer.ours, f"**{answer.verdict}**", answer.under


def _place(claim: Claim) -> str:
    """What the paper leaves open last, by its letters; all else in the order in which it was registered."""
    return claim.id if claim.id.startswith("6") else ""


def _runs() -> list[str]:
    """What each committed run directory holds, and how to make it again."""
    heads = (
        "command",
        "rows",
        "reached",
        "minutes on two free cores",
        "time of all workers, other work beside",
        "machine",
    )
    lines = table(heads, [_run(recipe, directory) for recipe, directory in RUNS.items()])
    rows = [Rows.of(results(recipe).rows) for recipe in RUNS]
    spent = sum(float(found.column("seconds").sum()) for found in rows)
    return [*lines, "", f"In all {grouped(sum(map(len, rows)))} rows and {duration(spent)} of all workers."]


def _run(recipe: str, directory: str) -> tuple[str, ...]:
    found = results(recipe)
    finals = Rows.of(found.rows).where(phase="final")
    reached = len(finals.where(outcome=Outcome.REACHED))
    return (
        f"`batchscope run {recipe} --out results/{directory}`",
        grouped(len(found.rows)),
        f"{reached} of {len(finals)}",
        RECIPES[recipe].minutes if recipe in RECIPES else "-",
        duration(float(Rows.of(found.rows).column("seconds").sum())),
        "; ".join(dict.fromkeys(str(run["machine"]) for run in found.runs if run.get("machine"))),
    )


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=PAGE)
    arguments = parser.parse_args(words)
    arguments.out.write_text(text(), encoding="utf-8")
    tables.PAGE.write_text(tables.text(), encoding="utf-8")
    print(f"{len(CLAIMS)} claims in {arguments.out}, {len(tables.TABLES)} tables in {tables.PAGE}")


if __name__ == "__main__":
    raise SystemExit(ended("page", main))
