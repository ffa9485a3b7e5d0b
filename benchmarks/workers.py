"""The motive of Chen et al. 2018, section 1, measured: how many workers a wide and a deep net of equal size can use.

    python -m benchmarks.workers [--family lenet] [--out DIR] [--seconds 0.15] [--figure PNG]

1. A study gives the steps to the target at every batch size, for both shapes (kept in DIR, resumes by itself).
2. `TimeModel.calibrate` times both shapes on two processes with gloo; links are then as documented below.
3. Steps are timed for real: on one process for P = 1, on two for P >= 2, each rank with its B/P examples. One exchange
   of the gradient is DDP's, with a hook that all-reduces among the real ranks, then sleeps until as much time has gone
   as a ring of P workers needs over links of 10 Gbit/s and 50 microseconds. Nothing overlaps it.
4. Measured time to target: median steps of the study's runs, times the least step time. Predicted: the fitted curve
   times the time model. Both at the best of the batch sizes that ran for each P, and at every batch size kept.
5. Both shapes are trained to the target on 1 and 2 ranks, and the clock's answer stands beside the prediction.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import batchscope as bs
from batchscope.analysis import CriticalBatchFit, Sweep
from batchscope.scaling import TimeModel
from benchmarks.machine import describe, write

BANDWIDTH, LATENCY = 1.25e9, 5e-5
WORKERS = (1, 2, 4, 8, 16, 32, 64)
COMMON: dict[str, Any] = {"target": {"train_accuracy": 0.98}, "num_seeds": 3, "protocol": "tuned"}
STUDIES: dict[str, dict[str, Any]] = {
    "fully_connected": COMMON
    | {
        "name": "workers",
        "dataset": "digits",
        "budget": 400_000,
        "depths": [1, 8],
        "batch_sizes": [16, 64, 128, 256, 512, 1024],
        "max_epochs": 60,
        "step_sizes": {"min": 0.025, "max": 0.8, "ratio": 2.0},
    },
    "lenet": COMMON
    | {
        "name": "workers-lenet",
        "family": "lenet",
        "dataset": "mnist",
        "num_examples": 2000,
        "budget": 431_080,
        "depths": [1, 6],
        "batch_sizes": [16, 64, 256, 1024],
        "max_epochs": 40,
        "step_sizes": {"min": 0.025, "max": 0.4, "ratio": 2.0},
    },
}
LOCAL_BATCHES = {"fully_connected": (4, 16, 64, 256, 512), "lenet": (4, 8, 16, 64, 128)}


def network(family: str, depth: int) -> Any:
    from batchscope.architectures.building import build

    about = {"fully_connected": ((64,), 10), "lenet": ((1, 28, 28), 10)}[family]
    return build(bs.Architecture.within_budget(family, *about, depth, STUDIES[family]["budget"]), seed=0)


def examples(family: str) -> tuple[Any, Any]:
    import torch

    study = STUDIES[family]
    data = bs.data.load(study["dataset"])
    count = study.get("num_examples")
    return torch.as_tensor(data.inputs[:count]), torch.as_tensor(data.targets[:count])


def train_step(module: Any, inputs: Any, targets: Any, step_size: float) -> float:
    """One step of SGD; the mean loss."""
    import torch
    import torch.nn.functional as F

    module.zero_grad()
    loss = F.cross_entropy(module(inputs), targets)
    loss.backward()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.sub_(step_size * parameter.grad)
    return float(loss.detach())


def over_links(module: Any, ranks: int, workers: int) -> Any:
    """The module as it trains on so many workers: averaged over the real ranks, then a wait until a ring is done."""
    import torch
    import torch.distributed as dist

    from batchscope.training.parallel import data_parallel

    if workers == 1:
        return module
    links = with_links(TimeModel(0.0, 1e-9, sum(p.numel() for p in module.parameters())))
    seconds, begun = float(links.exchanging(workers)), [0.0]

    def exchange(bucket: Any) -> Any:
        if bucket.index() == 0:
            begun[0] = time.perf_counter()
        gradient: Any = bucket.buffer()
        dist.all_reduce(gradient)
        gradient /= ranks
        if bucket.is_last():
            time.sleep(max(begun[0] + seconds - time.perf_counter(), 0.0))
        done: Any = torch.futures.Future()
        done.set_result(gradient)
        return done

    wrapped: Any = data_parallel(module, torch.device("cpu"), None)
    wrapped.register_comm_hook(None, lambda _, bucket: exchange(bucket))
    return wrapped


def time_steps(family: str, depth: int, rank: int, ranks: int, seconds: float) -> dict[str, list[float]]:
    """ "P B" -> [least, median] seconds of a step, for every P that this many ranks stand for."""
    inputs, targets = examples(family)
    found = {}
    for workers in WORKERS[:1] if ranks == 1 else WORKERS[1:]:
        module = over_links(network(family, depth), ranks, workers)
        for size in STUDIES[family]["batch_sizes"]:
            local = max(size // workers, 1)
            if size >= workers:
                taken = _repeat(module, inputs[:local], targets[:local], seconds, ranks)
                found[f"{workers} {size}"] = [float(np.min(taken)), float(np.median(taken))]
    return found


def _repeat(module: Any, inputs: Any, targets: Any, seconds: float, ranks: int) -> list[float]:
    """Seconds of each of some steps, of the slower rank; as many on every rank."""
    import torch
    import torch.distributed as dist

    taken: list[float] = []
    count = 10
    while len(taken) < count:
        start = time.perf_counter()
        train_step(module, inputs, targets, 0.0)
        taken.append(time.perf_counter() - start)
        if len(taken) == 5:
            numbers = torch.tensor([seconds / min(taken)])
            if ranks > 1:
                dist.all_reduce(numbers, dist.ReduceOp.MIN)
            count = int(numbers.clamp(15, 400))
    clocks = torch.tensor(taken[5:], dtype=torch.float64)
    if ranks > 1:
        dist.all_reduce(clocks, dist.ReduceOp.MAX)
    return clocks.tolist()


def train(family: str, depth: int, rank: int, ranks: int, size: int, step_size: float) -> list[float]:
    """[steps, seconds in steps] until the training accuracy meets the target, checked after every epoch."""
    import torch

    module, (inputs, targets) = over_links(network(family, depth), ranks, ranks), examples(family)
    order, steps, spent = torch.Generator().manual_seed(0), 0, 0.0
    for _epoch in range(STUDIES[family]["max_epochs"]):
        start = time.perf_counter()
        for batch in torch.randperm(len(inputs), generator=order).split(size):
            if len(batch) == size:
                mine = batch.tensor_split(ranks)[rank]
                train_step(module, inputs[mine], targets[mine], step_size)
                steps += 1
        spent += time.perf_counter() - start
        with torch.no_grad():
            if float((module(inputs).argmax(1) == targets).double().mean()) >= 0.98:
                return [steps, spent]
    return [math.inf, spent]


def with_links(model: TimeModel) -> TimeModel:
    return TimeModel(**{**vars(model), "bandwidth": BANDWIDTH, "latency": LATENCY})


def on_ranks(ranks: int, function: str, *arguments: Any) -> Any:
    """What rank 0 of so many processes returns from `function(family, depth, rank, ranks, ...)`."""
    from torch.multiprocessing.spawn import spawn

    with tempfile.TemporaryDirectory() as folder:
        spawn(_program, (ranks, folder, function, arguments), nprocs=ranks)
        return json.loads((Path(folder) / "answer.json").read_text())


def _program(rank: int, ranks: int, folder: str, function: str, arguments: Sequence[Any]) -> None:
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    if ranks > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=ranks)
    family, depth, *rest = arguments
    answer = globals()[function](family, depth, rank, ranks, *rest)
    if rank == 0:
        (Path(folder) / "answer.json").write_text(json.dumps(answer))
    if ranks > 1:
        dist.barrier()  # a rank that leaves while another still exchanges takes it down
        dist.destroy_process_group()
        os._exit(0)  # gloo's threads now and then abort an interpreter that takes itself apart


Times = dict[tuple[int, int], float]  # (P, B) -> seconds of a step, or to the target


def shape_record(
    family: str, depth: int, sweep: Sweep, fit: CriticalBatchFit, step_sizes: dict[int, float], seconds: float
) -> dict[str, Any]:
    inputs, targets = examples(family)
    calibration = TimeModel.calibrate(
        network(family, depth),
        mean_loss,
        inputs,
        targets,
        local_batches=LOCAL_BATCHES[family],
        device="cpu",
        seconds=6.0,
    )
    print(f"{sweep.shape}: {calibration}\n  {fit}", flush=True)
    model = with_links(calibration.model)
    clocks: Times = {
        (int(key.split()[0]), int(key.split()[1])): least
        for ranks in (1, 2)
        for key, (least, _) in on_ranks(ranks, "time_steps", family, depth, seconds).items()
    }
    steps = dict(zip(sweep.batch_sizes.astype(int).tolist(), sweep.typical(sweep.steps).tolist(), strict=True))
    met = [size for size, needed in steps.items() if math.isfinite(needed)]
    measured: Times = {(p, b): steps[b] * clocks[p, b] for p in WORKERS for b in met if b >= p}
    predicted: Times = {(p, b): float(fit.predicted([b])[0] * model.step(b, p)) for p, b in measured}
    model_clocks: Times = {(p, b): float(model.step(b, p)) for p, b in clocks}
    return {
        "shape": sweep.shape,
        "parameters": model.num_parameters,
        "fit": fit.as_dict(),
        "steps": steps,
        "calibration": calibration.as_dict(),
        "model": model.as_dict(),
        "step_seconds": {f"P={p} B={b}": [clock, model_clocks[p, b]] for (p, b), clock in clocks.items()},
        "best": {"measured": _best(measured), "predicted": _best(predicted)},
        "fixed": {b: _fixed(b, clocks, model_clocks, model, fit) for b in STUDIES[family]["batch_sizes"]},
        "saturation": bs.scaling.advise(model, fit, workers=range(1, 129)).saturation.text,
        "trained": _trained(family, depth, met, step_sizes, fit, model, measured),
    }


def mean_loss(outputs: Any, targets: Any) -> Any:
    import torch.nn.functional as F

    return F.cross_entropy(outputs, targets)


def _best(times: Times) -> dict[int, dict[str, float]]:
    """P -> the best batch size that ran, and the speed-up over the best of one worker."""
    least = {p: min((seconds, b) for (q, b), seconds in times.items() if q == p) for p in {p for p, _ in times}}
    return {p: {"batch_size": b, "speedup": least[1][0] / seconds} for p, (seconds, b) in sorted(least.items())}


def _fixed(size: int, measured: Times, predicted: Times, model: TimeModel, fit: CriticalBatchFit) -> dict[str, Any]:
    """Speed-up over one worker at the same batch size, and the last worker that is predicted to save 3 %."""
    advice = bs.scaling.advise(model, fit, workers=range(1, 129), batch_size=size)
    several = [p for p, b in measured if b == size]
    return {
        "measured": {p: measured[1, size] / measured[p, size] for p in several},
        "predicted": {p: predicted[1, size] / predicted[p, size] for p in several},
        "fastest": min(several, key=lambda p: measured[p, size]),
        "saturation": advice.saturation.text,
    }


def _trained(
    family: str,
    depth: int,
    met: list[int],
    step_sizes: dict[int, float],
    fit: CriticalBatchFit,
    model: TimeModel,
    measured: Times,
) -> dict[str, Any]:
    """Trained to the target on 1 and 2 real ranks, each at its best batch size that ran."""
    found = {}
    for ranks in (1, 2):
        size = min(met, key=lambda b: measured[ranks, b])
        steps, seconds = on_ranks(ranks, "train", family, depth, size, step_sizes[size])
        predicted = float(fit.predicted([size])[0] * model.step(size, ranks))
        found[str(ranks)] = {"batch_size": size, "steps": steps, "seconds": seconds, "predicted": predicted}
    return found


def table(records: Sequence[Any]) -> str:
    lines = []
    for record in records:
        lines.append(f"{record['shape']} ({record['parameters']} parameters)")
        lines.append("best B of each P: speed-up over the best of one worker, measured (predicted)")
        best = record["best"]
        for p, point in best["measured"].items():
            other = best["predicted"][p]
            lines.append(
                f"  P = {p:2d}  {point['speedup']:6.2f} at B = {point['batch_size']:4d}  "
                f"({other['speedup']:.2f} at {other['batch_size']})"
            )
        lines.append(f"  predicted: a worker saves 3 % up to P = {record['saturation']}")
        lines.append("B kept: speed-up over one worker at that B, measured (predicted)")
        lines += [_fixed_line(size, found) for size, found in record["fixed"].items()]
        lines += [_trained_line(ranks, run) for ranks, run in record["trained"].items()]
    return "\n".join(lines)


def _fixed_line(size: int, found: dict[str, Any]) -> str:
    pairs = [f"{p}: {speedup:.2f} ({found['predicted'][p]:.2f})" for p, speedup in found["measured"].items()]
    return (
        f"  B = {size:4d}  {'  '.join(pairs)}; fastest P = {found['fastest']}, "
        f"predicted to save 3 % up to {found['saturation']}"
    )


def _trained_line(ranks: str, run: dict[str, float]) -> str:
    return (
        f"  trained on {ranks} rank(s), B = {run['batch_size']}: {run['steps']:.0f} steps, {run['seconds']:.3g} s; "
        f"predicted {run['predicted']:.3g} s"
    )


def draw(records: Sequence[Any], path: Path) -> None:
    """A panel per shape: speed-up against workers, measured (points) and predicted (lines), a colour per batch size."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.2), layout="constrained")
    panels = figure.subplots(1, len(records), sharey=True)
    for panel, record in zip(panels, records, strict=True):
        for number, (size, found) in enumerate(record["fixed"].items()):
            panel.plot(*zip(*found["predicted"].items(), strict=True), "-", color=f"C{number}", lw=1)
            panel.plot(*zip(*found["measured"].items(), strict=True), "o", color=f"C{number}", label=f"B = {size}")
        panel.plot(WORKERS, WORKERS, ":", color="grey", lw=1)
        panel.set(xscale="log", yscale="log", xlabel="workers P", title=record["shape"], ylim=(0.05, 70))
        panel.set_xticks(WORKERS, [str(p) for p in WORKERS])
        panel.minorticks_off()
    panels[0].set_yticks((0.1, 1, 10), ("0.1", "1", "10"))
    panels[0].set_ylabel("speed-up over one worker at the same B")
    panels[0].legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", choices=STUDIES, default="fully_connected")
    parser.add_argument("--out", help="where the study is kept (default: runs/ and its name)")
    parser.add_argument("--seconds", type=float, default=0.15, help="of timing per number of workers and batch size")
    parser.add_argument("--figure", type=Path, help="where to draw the speed-ups")
    arguments = parser.parse_args()
    family, study = arguments.family, STUDIES[arguments.family]
    results = bs.run(bs.Study(**study), out=arguments.out or f"runs/{study['name']}")
    fits, sweeps = bs.fit(results), bs.analysis.sweeps_of(results)
    records = []
    for depth, (shape, sweep) in zip(study["depths"], sweeps.items(), strict=True):
        finals = [row for row in results.rows if row.shape == shape and row.phase == "final"]
        step_sizes = {row.batch_size: row.step_size for row in finals}
        records.append(shape_record(family, depth, sweep, fits[shape], step_sizes, arguments.seconds))
    print(table(records))
    if arguments.figure:
        draw(records, arguments.figure)
    links = {"bandwidth": BANDWIDTH, "latency": LATENCY, "pattern": "ring"}
    print(write(study["name"], {"machine": describe(), "links": links, "study": study, "shapes": records}))


if __name__ == "__main__":
    main()
