"""REPRODUCTION.md from the committed rows: one line for every claim of the paper. Trains nothing.

python -m reproduction.page            writes REPRODUCTION.md, in under a minute
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from batchscope.analysis.formatting import duration, grouped
from batchscope.recipes import RECIPES
from batchscope.records import Outcome, Rows
from reproduction import small_studies  # noqa: F401  registers them, and the claims before
from reproduction.evidence import CLAIMS, RUNS, results

PAGE = Path(__file__).parent.parent / "REPRODUCTION.md"

_HEAD = """# The paper, claim by claim

Chen, Wang, Zhao, Koutris and Papailiopoulos, *The Effect of Network Width on the Performance of Large-batch Training*
(NeurIPS 2018): what it says, what this code measures, and whether the claim holds. Every number comes from the rows in
[results](results) or from closed forms: `python -m reproduction.page` writes this page again without training, and a
test compares the two. Intervals are 95 %.

Verdicts: *holds*, *holds in part* (the line says where), *does not hold* (under these assumptions), *undecided* (too
few runs to say), *not tested*. What the paper does not state is an assumption of ours, named with every line and
printed with every output (`batchscope recipes`); `--variant` changes it.
"""


def text() -> str:
    """The page."""
    lines = [_HEAD, "| claim | the paper | here | verdict | under |", "| --- | --- | --- | --- | --- |"]
    for claim in CLAIMS:
        answer = claim.answer()
        again = f" `{claim.recipe}`" if claim.recipe else ""
        cells = (claim.id, f"{claim.paper}{again}", answer.ours, f"**{answer.verdict}**", answer.under)
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return "\n".join([*lines, "", "## The runs", "", *_runs(), ""])


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
    lines = [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
    for recipe, directory in RUNS.items():
        found = results(recipe)
        finals = Rows.of(found.rows).where(phase="final")
        reached = len(finals.where(outcome=Outcome.REACHED))
        spent = float(Rows.of(found.rows).column("seconds").sum())
        machine = str(found.runs[0].get("machine", "")) if found.runs else ""
        lines.append(
            f"| `batchscope run {recipe} --out results/{directory}` | {grouped(len(found.rows))} | {reached} of "
            f"{len(finals)} | {RECIPES[recipe].minutes if recipe in RECIPES else '-'} | {duration(spent)} | {machine} |"
        )
    return lines


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=PAGE)
    arguments = parser.parse_args(words)
    arguments.out.write_text(text(), encoding="utf-8")
    print(f"{len(CLAIMS)} claims in {arguments.out}")


if __name__ == "__main__":
    main()
