"""The section on workers: the page's script computes what Python computes, and begins where `advise` is."""

from __future__ import annotations

import dataclasses
import json
import math
import random
import re
import shutil
import subprocess
from importlib import resources

import numpy as np
import pytest

from batchscope.analysis.digest import digest
from batchscope.analysis.formatting import duration, number, tick
from batchscope.cli.main import main
from batchscope.errors import InputError
from batchscope.report.charts.chart import Band, Line
from batchscope.report.charts.workers import workers_charts
from batchscope.report.page import html
from batchscope.report.page.workers import DEADLINE, MOST, PRICE, _packed, line, workers_part
from batchscope.scaling import StepsCurve, TimeModel, advise
from batchscope.scaling.time_model import rate
from tests.report import factory

NODE = shutil.which("node")
SHAPES = ((1, 13), (3, 11), (7, 5))
SCRIPT = resources.files("batchscope.report.page").joinpath("assets", "workers.js")
with_node = pytest.mark.skipif(NODE is None, reason="needs node")


def run_script(program: str, given: object) -> object:
    """What a program prints that has the page's functions as `workers` and its input as `given`; NaN is null there."""
    head = f"const workers = require({json.dumps(str(SCRIPT))}), given = JSON.parse(require('fs').readFileSync(0));"
    done = subprocess.run(
        [NODE, "-e", f"{head} console.log(JSON.stringify({program}))"],
        input=html._json(given),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def some_model(dice: random.Random) -> tuple[TimeModel, StepsCurve]:
    """A time model and a curve of any kind: patterns, overlap, memory, bend, not bounded, without resamples."""
    s_min, b_crit = 10 ** dice.uniform(1, 5), 10 ** dice.uniform(0.5, 4)
    bend = dice.choice([0.0, 0.0, 0.4, -0.3])
    parameters = np.array([math.log(s_min), math.log(s_min * b_crit), bend])
    noise = np.random.default_rng(dice.randrange(99)).standard_normal((dice.choice([0, 31]), 3)) * [0.1, 0.2, 0.1]
    samples = parameters + noise * [1, 1, bend != 0]
    samples[: len(samples) // 10] = np.nan
    curve = StepsCurve(parameters, samples, 11.0, 1009.0, dice.random() < 0.8, dice.choice([math.inf, 2000.0]))
    model = TimeModel(
        overhead=dice.choice([0.0, 10 ** dice.uniform(-4, -1)]),
        per_example=10 ** dice.uniform(-6, -3),
        num_parameters=dice.randrange(1000, 10**8),
        bandwidth=dice.choice([10 ** dice.uniform(6, 10), math.inf]),
        latency=dice.choice([0.0, 10 ** dice.uniform(-6, -3)]),
        overlap=dice.choice([1.0, 1.0, 2.5, 10.0]),
        handling=dice.choice([0.0, 0.001]),
        pattern=dice.choice(["ring", "tree", "parameter_server"]),
        max_local_batch=dice.choice([math.inf, 64.0]),
    )
    return model, curve


@with_node
def test_the_script_finds_what_python_finds_wherever_the_sliders_are():
    dice, asked, expected = random.Random(7), [], []
    while len(asked) < 40:
        model, curve = some_model(dice)
        by = {name: 10 ** dice.uniform(-2, 2) for name in ("bandwidth", "latency")}
        wishes = {"price": 10 ** dice.uniform(-1, 1), "deadline": 10 ** dice.uniform(0, 5)}
        moved = dataclasses.replace(
            model, bandwidth=model.bandwidth * by["bandwidth"], latency=model.latency * by["latency"]
        )
        options = {"name": "x", "workers": range(1, 33)}
        try:
            here, there = advise(model, curve, **options), advise(moved, curve, **options, **wishes)
        except InputError:  # no number of workers fits the memory
            continue
        asked.append([_packed(here), by | wishes])
        expected.append(there)
    program = """given.map(([shape, changed]) => {
      const unpacked = workers.unpacked(shape), advice = workers.advise(unpacked, changed);
      return [advice, workers.words(unpacked, advice)];
    })"""
    for (found, words), there in zip(run_script(program, asked), expected, strict=True):
        assert words == list(line(there)[1:])
        for point, its in zip(found["points"], there.points, strict=True):
            close(point["batch"], its.batch_size, 1e-5)
            close(point["seconds"], its.seconds)
            close(point["speedup"], its.speedup)
            close(point["cost"], its.cost)
            for end, other in zip(point["interval"], its.interval, strict=True):
                close(end, other)
            for end, other in zip(point["speedupInterval"], its.speedup_interval, strict=True):
                close(end, other)


def close(found: float | None, expected: float, tolerance: float = 1e-6) -> None:
    """JSON has null for NaN."""
    assert (math.nan if found is None else found) == pytest.approx(expected, rel=tolerance, nan_ok=True)


@with_node
def test_the_script_writes_numbers_as_python_does():
    dice = random.Random(3)
    values = [0.0, 1.0, 64.0, 999.6, 1024.0, 12345.6, 60000.0, 0.09996, 0.5, 119.9, 7199.0, 2.0**17, 2.0**-20]
    values += [10 ** dice.uniform(-8, 6.5) for _ in range(300)]
    program = (
        "given.map(v => [workers.number(v), workers.duration(v), workers.rate(v * 1e4), v ? workers.tick(v) : ''])"
    )
    for value, found in zip(values, run_script(program, values), strict=True):
        expected = [number(value), duration(value), rate(value * 1e4), tick(value) if value else ""]
        assert found == expected, value


@pytest.fixture(scope="module")
def studied():
    return digest(factory.study(shapes=SHAPES, batch_sizes=(8, 32, 128, 512), num_seeds=3))


@pytest.fixture(scope="module")
def times(studied):
    links = {"bandwidth": 1.25e9, "latency": 5e-5, "origin": "timed on one worker"}
    return {shape: TimeModel(0.002 * k, 1e-5 * k, 4000 + k, **links) for k, shape in enumerate(studied.fits, start=1)}


def test_the_section_has_a_line_and_a_curve_for_each_shape_and_the_sliders(studied, times):
    part = workers_part(studied, times, "s1")
    assert list(part.charts) == ["workers_speedup", "workers_time", "workers_cost"]
    deadline = part.computed["deadline"]
    for shape, model in times.items():
        advice = advise(
            model, studied.fits[shape], workers=range(1, MOST + 1), price=PRICE, deadline=deadline, name=shape
        )
        cells = "".join(re.escape(f">{text}<").join(["", ".*"]) for text in map(_escaped, line(advice)))
        assert re.search(cells, part.lead), shape
    assert re.findall(r'name="(\w+)"', part.lead) == ["bandwidth", "latency", "price", "deadline"]
    first = advise(next(iter(times.values())), next(iter(studied.fits.values())), workers=[1]).points[0].seconds
    assert deadline == pytest.approx(DEADLINE * first, rel=0.05)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def test_the_script_knows_the_order_of_the_layers(studied, times):
    """workers.js puts new numbers into the traces by their place."""
    shown = [
        advise(times[shape], fit, workers=range(1, 9), price=1.0, deadline=9.0, name=shape)
        for shape, fit in studied.fits.items()
    ]
    kinds = {name: [type(layer) for layer in chart.panels[0].layers] for name, chart in workers_charts(shown).items()}
    each = [Band, Line] * len(shown)
    assert kinds["workers_speedup"][: 1 + len(each)] == [Line, *each]
    assert (kinds["workers_time"], kinds["workers_cost"]) == ([Line, *each], each)


def test_without_times_there_is_no_section(studied):
    assert "What more workers buy" not in html.page({"digits": studied})


def test_shapes_without_times_are_named(studied, times):
    some = dict(list(times.items())[1:])
    assert "is left out: its steps were not timed" in " ".join(workers_part(studied, some, "s1").text)
    assert "No shape has both" in workers_part(studied, {"another": next(iter(times.values()))}, "s1").text[0]


def test_the_command_takes_the_times_that_advise_kept(tmp_path, studied, times, capsys):
    from batchscope.records.export import export

    export(studied.rows, tmp_path / "runs.csv")
    kept = {shape: model.as_dict() for shape, model in times.items()}
    (tmp_path / "times.json").write_text(json.dumps(kept))
    words = ["report", str(tmp_path / "runs.csv"), "--times", str(tmp_path / "times.json")]
    assert main([*words, "--html", str(tmp_path / "page.html")]) == 0
    text = (tmp_path / "page.html").read_text()
    assert "What more workers buy" in text
    capsys.readouterr()
    assert main(words) == 2
    assert "--times FILE is for the page" in capsys.readouterr().err
    assert main([*words[:2], "--times", str(tmp_path / "none.json"), "--html", str(tmp_path / "page.html")]) == 2
    assert "none.json is not a readable JSON file" in capsys.readouterr().err


@pytest.mark.parametrize("deadline", [None, 60.0])
def test_the_caption_names_the_line_of_a_deadline_where_there_is_one(deadline):
    model, curve = some_model(random.Random(3))
    chart = workers_charts([advise(model, curve, workers=range(1, 9), deadline=deadline)])["workers_time"]
    dotted = [layer for layer in chart.panels[0].layers if isinstance(layer, Line) and layer.style == "dotted"]
    assert bool(dotted) == ("Dotted" in chart.caption) == (deadline is not None)
