"""``python -m tests.fuzz [--n 5000] [--seed 0] [--kind studies] [--only NUMBER]``: tried, refused, escaped."""

from __future__ import annotations

import argparse
import importlib
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.fuzz import data_files, stores, study_files
from tests.fuzz.attempt import MOST_BYTES, MOST_SECONDS, Attempt, attempt

KINDS = ("studies", "data", "stores")
TRAIN_NOTHING = ("--executor", "inline", "--device", "cpu")
ON_STORES: tuple[tuple[str, ...], ...] = (
    ("report", "run"),
    ("report", "run", "--json"),
    ("report", "run", "--html", "page.html"),
    ("export", "run", "rows.csv"),
    ("export", "run", "rows.json"),
    ("plan", "run/study.toml"),
    ("run", "run/study.toml", "--out", "run", *TRAIN_NOTHING),
    ("advise", "run", "--flops", "1e9"),
)


def main() -> int:
    """Try, and return 1 where anything escaped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=KINDS)
    parser.add_argument("--only", type=int, metavar="NUMBER", help="this one alone, and all that it printed")
    arguments = parser.parse_args()
    kinds = [arguments.kind] if arguments.kind else KINDS
    numbers = range(arguments.n) if arguments.only is None else [arguments.only]
    tried, escaped = Counter[str](), []
    for number, done in _attempts(arguments.seed, numbers, kinds):
        tried[f"{done.kind} {'refused' if done.refused else 'accepted'}"] += 1
        if done.problem or arguments.only is not None:
            print(f"{number}: {done.kind}, {' '.join(done.words)}: {done.problem}; {_last_line(done)}", flush=True)
            escaped += [done] if done.problem else []
        if arguments.only is not None:
            print(done.text)
    counts = ", ".join(f"{what} {count}" for what, count in sorted(tried.items()))
    print(f"tried {sum(tried.values())}: {counts}; escaped {len(escaped)}")
    print(f"(escaped: a traceback, a signal, a refusal beyond {MOST_SECONDS:g} s or {MOST_BYTES / 1e9:g} GB)")
    return bool(escaped)


def _attempts(seed: int, numbers: Sequence[int], kinds: Sequence[str]) -> Iterator[tuple[int, Attempt]]:
    _warm_up()
    with tempfile.TemporaryDirectory() as name:
        good = stores.make_good(Path(name) / "good")
        for number in numbers:
            chance = random.Random(f"{seed} {number}")
            folder = Path(name) / f"{number}"
            folder.mkdir()
            kind = kinds[number % len(kinds)]
            yield number, attempt(kind, _words(kind, folder, good, chance), folder)
            shutil.rmtree(folder, ignore_errors=True)


def _words(kind: str, folder: Path, good: Path, chance: random.Random) -> tuple[str, ...]:
    """Make the input and return the command for it."""
    if kind == "stores":
        stores.make(good, folder / "run", chance)
        return chance.choice(ON_STORES)
    if kind == "data" and chance.random() < 0.15:
        data_files.make_idx(folder, chance)
        return "data", "check", "mnist", "--data-dir", "."
    if kind == "data":
        data_files.make(folder / "odd.npz", chance)
        (folder / "study.toml").write_bytes(data_files.study(folder / "odd.npz"))
    else:
        (folder / "study.toml").write_bytes(study_files.make(chance))
    plan = chance.random() < 0.7
    return ("plan", "study.toml") if plan else ("run", "study.toml", "--out", "out", *TRAIN_NOTHING)


def _warm_up() -> None:
    """Load what every attempt needs, once; and let no attempt train anything."""
    for command in ("plan", "run", "report", "export", "advise", "data"):
        importlib.import_module(f"batchscope.cli.{command}")
    from batchscope.data import load
    from batchscope.report.page import html  # noqa: F401
    from batchscope.running.executors.inline import InlineExecutor

    def perform(self: InlineExecutor, job: Any, on_epoch: Any) -> Any:
        return None, "nothing is trained here"

    InlineExecutor._perform = perform  # type: ignore[method-assign]
    load("digits")


def _last_line(done: Attempt) -> str:
    lines = done.text.strip().splitlines()
    return lines[-1][:300] if lines else ""


if __name__ == "__main__":
    raise SystemExit(main())
