"""`batchscope report DIR|FILE.csv`: verdict, table, figures and one HTML page of a run directory, or of a CSV of plain
numbers; a gate for CI."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from batchscope.analysis.digest import digest
from batchscope.analysis.gate import GateResult, parse, require
from batchscope.cli.console import print_json
from batchscope.cli.reported import Reported, reported
from batchscope.cli.worker_times import kept_models
from batchscope.errors import InputError
from batchscope.report import Digest
from batchscope.report.terminal import study_text
from batchscope.scaling import TimeModel

EXIT_DONE, EXIT_DOES_NOT_HOLD = 0, 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A run directory, what to write where, the definition of B*, a requirement."""
    parser.add_argument(
        "directory", metavar="DIR|FILE.csv", help="a run directory, finished or not, or a CSV with a line per run"
    )
    parser.add_argument("--num-examples", type=int, metavar="N", help="of the training set, for a CSV without it")
    parser.add_argument("--html", metavar="FILE", help="write everything into one self-contained page")
    parser.add_argument(
        "--times", metavar="FILE", help="times per step that `advise --times FILE` kept: the page says what workers buy"
    )
    parser.add_argument("--figures", metavar="DIR", help="write the figures there, as PNG and SVG")
    parser.add_argument("--study", metavar="NAME", help="only this one, where DIR holds several studies")
    parser.add_argument("--definition", default="b_crit", help="of the threshold B* (default: %(default)s)")
    parser.add_argument(
        "--against", metavar="DIR2", help="the same study under the other protocol of tuning: show the ratio of B*"
    )
    parser.add_argument(
        "--require",
        metavar="EXPR",
        help='exit with 1 unless this holds for every study, such as "b_threshold(wide) >= 1024"',
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the report and write what is asked for; 0, or 1 for a requirement that is not met."""
    if arguments.require is not None:
        parse(arguments.require)
    if arguments.times and not arguments.html:
        raise InputError("--times FILE is for the page: give --html FILE as well, or run batchscope advise")
    about = reported(arguments.directory, arguments.study, arguments.num_examples)
    other = reported(arguments.against, None, arguments.num_examples) if arguments.against else None
    digests = digests_of(about, arguments.definition, other)
    gates = _gates(digests, arguments.require)
    written = _write(arguments, digests, about)
    if arguments.json:
        record = _record(arguments, digests, gates, written)
        missing = about.missing_shards
        print_json(record | {"missing_shards": missing if missing is None else [one.as_dict() for one in missing]})
    else:
        _print(digests, gates)
        for line in (*(note for said in about.notes.values() for note in said), *about.unfinished, *written):
            print(line)
    return EXIT_DONE if all(gate.passed for gate in gates.values()) else EXIT_DOES_NOT_HOLD


def digests_of(about: Reported, definition: str = "b_crit", other: Reported | None = None) -> dict[str, Digest]:
    """Return study name -> what its rows say, for every study. other: runs under another protocol."""
    return {
        name: digest(rows, definition, None if other is None else other.counterpart(name))
        for name, rows in about.rows.items()
    }


def _gates(digests: dict[str, Digest], requirement: str | None) -> dict[str, GateResult]:
    if requirement is None:
        return {}
    return {name: require(one.sweeps, requirement) for name, one in digests.items()}


def _write(arguments: argparse.Namespace, digests: dict[str, Digest], about: Reported) -> list[Path]:
    written = write_figures(digests, arguments.figures) if arguments.figures else []
    if arguments.html:
        times = kept_models(Path(arguments.times)) if arguments.times else None
        written.append(write_page_of(digests, about, arguments.html, times))
    return written


def write_figures(digests: Mapping[str, Digest], directory: str | Path) -> list[Path]:
    """Draw every chart of every study into a directory, as PNG and SVG; returns the files."""
    from batchscope.report import figures

    written: list[Path] = []
    for name, one in digests.items():
        drawn = figures.write(one, directory, f"{name}-".replace("/", "-") if len(digests) > 1 else "")
        written += drawn
        if not drawn:
            print(f"{name}: no figures, as no final run has been recorded yet", file=sys.stderr)
    return written


def write_page_of(
    digests: dict[str, Digest], about: Reported, file: str | Path, times: Mapping[str, TimeModel] | None = None
) -> Path:
    """Write the page of what is reported on, with the command that makes it again; returns the file."""
    from batchscope.report.page.html import Origin, write_page

    origin = Origin(
        command=shlex.join(["batchscope", *sys.argv[1:]]),
        study_file=about.study_file,
        runs=about.runs,
        notes={name: [*said, *about.unfinished] for name, said in about.notes.items()},
    )
    return write_page(digests, file, origin, times)


def _record(
    arguments: argparse.Namespace, digests: dict[str, Digest], gates: dict[str, GateResult], written: list[Path]
) -> dict[str, Any]:
    return {
        "directory": arguments.directory,
        "studies": {name: _study_record(one) for name, one in digests.items()},
        "require": {name: gate.as_dict() for name, gate in gates.items()},
        "holds": all(gate.passed for gate in gates.values()) if gates else None,
        "written": [str(path) for path in written],
    }


def _study_record(one: Digest) -> dict[str, Any]:
    return {
        "headline": one.headline.as_dict(),
        "verdict": one.verdict.as_dict(),
        "thresholds": {shape: threshold.as_dict() for shape, threshold in one.thresholds.items()},
        "fits": {shape: fitted.as_dict() for shape, fitted in one.fits.items()},
        "findings": [finding.as_dict() for finding in one.findings],
        "epoch_ratios": one.epoch_ratios.as_dict(),
        "exploratory": [verdict.as_dict() for verdict in one.exploratory],
        "tuning": one.tuning.as_dict(),
        "protocols": {shape: effect.as_dict() for shape, effect in one.protocols.items()},
        "table": [cell.as_dict() for cell in one.table],
    }


def _print(digests: dict[str, Digest], gates: dict[str, GateResult]) -> None:
    for one in digests.values():
        print(f"{study_text(one)}\n")
    for name, gate in gates.items():
        for line in gate.detail:
            print(f"{name}: {line}")
