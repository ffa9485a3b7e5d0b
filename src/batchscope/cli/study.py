"""What the commands that take a STUDY share: its arguments, and how it is introduced."""

from __future__ import annotations

import argparse

from batchscope.studies import Study


def add_study(parser: argparse.ArgumentParser) -> None:
    """Add STUDY, --variant, --data-dir and --workers."""
    parser.add_argument("study", metavar="STUDY", help="a recipe (see `batchscope recipes`) or a TOML file")
    parser.add_argument(
        "--variant",
        metavar="NAME",
        default="",
        help="of a recipe of the paper, such as adam, momentum, tuned, adam+tuned",
    )
    parser.add_argument("--data-dir", metavar="DIR", help="where to look for data first")
    parser.add_argument("--workers", type=int, metavar="N", help="processes at once (default: one per usable core)")


def notes(study: Study) -> list[str]:
    """What every output about a study repeats: how it is scaled, and what in it is assumed."""
    scaled = [f"{study.name} is scaled: {study.scaled}"] if study.scaled else []
    return [*scaled, *(f"{study.name} assumption: {assumption}" for assumption in study.assumptions)]
