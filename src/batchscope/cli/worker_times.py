"""The time models behind `advise`: assumed, kept in a file, or timed now on the study's own examples."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from batchscope.analysis import sweeps_of
from batchscope.cli.numbers import BYTES_PER_SECOND, SECONDS, quantity
from batchscope.errors import InputError
from batchscope.scaling import TimeModel
from batchscope.scaling.time_model import read_json
from batchscope.studies import Results, Study
from batchscope.writing import write_text

BANDWIDTH, LATENCY = 1.25e9, 5e-5  # assumptions: 10 Gbit/s Ethernet, and what a message over it takes
FLOPS_PER_MULTIPLY_ADD = 6  # training: 2 forward, 4 backward
SECONDS_PER_SHAPE = 0.5  # of timing
NUM_EXAMPLES_TIMED = 256


def links_given(arguments: argparse.Namespace) -> dict[str, Any]:
    """The fields of a time model that describe the links, as far as they were given."""
    given: dict[str, Any] = {}
    if arguments.bandwidth is not None:
        given["bandwidth"] = quantity("--bandwidth", arguments.bandwidth, BYTES_PER_SECOND)
    if arguments.latency is not None:
        given["latency"] = quantity("--latency", arguments.latency, SECONDS)
    if arguments.pattern is not None:
        given["pattern"] = arguments.pattern
    return given


def time_models(study: Study, results: Results, arguments: argparse.Namespace) -> dict[str, TimeModel]:
    """Shape -> its time model: assumed, kept in a file, or timed now; links and memory as given."""
    first = {row.shape: row for row in reversed(results.rows)}
    changes = links_given(arguments)
    if arguments.memory is not None:
        changes["max_local_batch"] = arguments.memory
    if arguments.flops is not None:
        sweeps = sweeps_of(results)
        models = {
            shape: TimeModel(
                0.0,
                FLOPS_PER_MULTIPLY_ADD * sweep.multiply_adds / arguments.flops,
                first[shape].num_parameters,
                bandwidth=BANDWIDTH,
                latency=LATENCY,
                origin=f"assumed: {arguments.flops:g} operations per second, no overhead",
            )
            for shape, sweep in sweeps.items()
        }
    else:
        models = _timed(study, list(sweeps_of(results)), arguments)
    return {shape: _with_links(model, changes, arguments) for shape, model in models.items()}


def _with_links(model: TimeModel, changes: dict[str, Any], arguments: argparse.Namespace) -> TimeModel:
    """With what was given, and in words which of it is given and which assumed."""
    timed = model.origin.split("; links")[0]
    origin = (
        timed if model.measured_workers > 1 and not links_given(arguments) else f"{timed}; {_links_origin(arguments)}"
    )
    return replace(model, **changes, origin=origin)


def _links_origin(arguments: argparse.Namespace) -> str:
    given = links_given(arguments)
    missing = [name for name in ("bandwidth", "latency") if name not in given]
    return "links as given" if not missing else "links assumed" if len(missing) == 2 else f"{missing[0]} assumed"


def _timed(study: Study, shapes: Sequence[str], arguments: argparse.Namespace) -> dict[str, TimeModel]:
    """Those in the file, and the rest timed now and kept there."""
    path = None if arguments.times is None else Path(arguments.times)
    known = _known(path)
    missing = [shape for shape in shapes if shape not in known]
    if missing:
        known |= _time(study, missing, arguments)
        if path is not None:
            _keep(path, known)
    return {shape: known[shape] for shape in shapes}


def _known(path: Path | None) -> dict[str, TimeModel]:
    return {} if path is None or not path.exists() else kept_models(path)


def kept_models(path: Path) -> dict[str, TimeModel]:
    """Shape -> the time model that `advise --times` kept in a file; InputError for another file."""
    record = read_json(path)
    if not isinstance(record, dict):
        raise InputError(f"{path} holds no time models by shape; expected a file that `advise --times` wrote")
    return {shape: TimeModel.from_dict(model) for shape, model in record.items()}


def _keep(path: Path, models: Mapping[str, TimeModel]) -> None:
    write_text(path, json.dumps({shape: model.as_dict() for shape, model in models.items()}, indent=1) + "\n")


def _time(study: Study, shapes: Sequence[str], arguments: argparse.Namespace) -> dict[str, TimeModel]:
    """Build every shape and time it on the study's own examples."""
    import torch

    from batchscope.architectures.building import build
    from batchscope.studies.dataset import DataRequest, facts, load_data
    from batchscope.studies.plan import architectures, settings
    from batchscope.studies.trial import FINAL
    from batchscope.training.modules.scoring import Criterion

    dataset = load_data(DataRequest.of(study, arguments.data_dir))
    inputs, targets = (torch.as_tensor(array[:NUM_EXAMPLES_TIMED]) for array in (dataset.inputs, dataset.targets))
    assumed = {} if arguments.processes > 1 else {"bandwidth": BANDWIDTH, "latency": LATENCY}
    found, loss = {}, Criterion.of(settings(study, 1, FINAL)).loss
    for net in architectures(study, facts(dataset, study.seed)):
        if net.label in shapes:
            print(f"timing {net.label}", file=sys.stderr)
            shaped = inputs.reshape(len(inputs), *net.input_shape)
            options: dict[str, Any] = {"processes": arguments.processes, "seconds": SECONDS_PER_SHAPE, **assumed}
            calibration = TimeModel.calibrate(build(net), loss, shaped, targets, **options)
            print(f"  {calibration.sentence}", file=sys.stderr)
            found[net.label] = calibration.model
    return found
