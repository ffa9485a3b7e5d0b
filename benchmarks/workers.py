"""The motive of Chen et al. 2018, section 1, measured: how many workers a wide and a deep net of equal size can use.

    python -m benchmarks.workers [--out DIR] [--seconds 0.15]

1. A study gives the steps to the target at every batch size, for both shapes (kept in DIR, resumes by itself).
2. `TimeModel.calibrate` times both shapes on two processes with gloo; links are then as documented below.
3. Steps are timed for real: on one process for P = 1, on two for P >= 2, each rank with its B/P examples. One exchange
   of the gradient is an all-reduce among the real ranks, then a sleep until as much time has gone as a ring of P
   workers needs over links of 10 Gbit/s and 50 microseconds. Nothing overlaps it.
4. Measured time to target: median steps of the study's runs, times the least step time. Predicted: the fitted curve
   times the time model. Both at the best of the batch sizes that ran ("best B"), and at the one that is best for one
   worker ("B kept").
5. Both shapes are trained to the target on 1 and 2 ranks, and the clock's answer stands beside the prediction.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import batchscope as bs
from batchscope.analysis import CriticalBatchFit, Sweep
from batchscope.scaling import TimeModel
from benchmarks.machine import describe, write

BANDWIDTH, LATENCY = 1.25e9, 5e-5
WORKERS = (1, 2, 4, 8, 16, 32, 64)
DEPTHS, BUDGET = (1, 8), 400_000
STUDY = {
    "name": "workers",
    "dataset": "digits",
    "budget": BUDGET,
    "depths": list(DEPTHS),
    "batch_sizes": [16, 64, 128, 256, 512, 1024],
    "target": {"train_accuracy": 0.98},
    "max_epochs": 60,
    "num_seeds": 3,
    "protocol": "tuned",
    "step_sizes": {"min": 0.025, "max": 0.8, "ratio": 2.0},
}
LOCAL_BATCHES = (4, 16, 64, 256, 512)

Step = Callable[[], None]


def network(depth: int, seed: int = 0) -> Any:
    from batchscope.architectures.building import build

    width = bs.solve_width(BUDGET, depth, 64, 10)
    return build(bs.Architecture("fully_connected", (64,), 10, depth, width), seed=seed)


def examples() -> tuple[Any, Any]:
    import torch

    digits = bs.data.load("digits")
    return torch.as_tensor(digits.inputs), torch.as_tensor(digits.targets)


def train_step(module: Any, inputs: Any, targets: Any, exchange: Step, step_size: float) -> float:
    """One step of SGD; the mean loss."""
    import torch
    import torch.nn.functional as F

    module.zero_grad()
    loss = F.cross_entropy(module(inputs), targets)
    loss.backward()
    exchange()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.sub_(step_size * parameter.grad)
    return float(loss.detach())


def exchange_of(module: Any, ranks: int, workers: int, model: TimeModel) -> Step:
    """All-reduce the gradient among the real ranks, then wait until a ring of `workers` would be done."""
    import torch
    import torch.distributed as dist

    if workers == 1:
        return lambda: None
    seconds = float(model.exchanging(workers))

    def exchange() -> None:
        end = time.perf_counter() + seconds
        flat = torch.cat([parameter.grad.flatten() for parameter in module.parameters()])
        dist.all_reduce(flat)
        flat /= ranks
        start = 0
        for parameter in module.parameters():
            parameter.grad.copy_(flat[start : start + parameter.numel()].view_as(parameter))
            start += parameter.numel()
        time.sleep(max(end - time.perf_counter(), 0.0))

    return exchange


def time_steps(depth: int, rank: int, ranks: int, seconds: float) -> dict[str, list[float]]:
    """ "P B" -> [least, median] seconds of a step, for every P that this many ranks stand for."""
    module, (inputs, targets) = network(depth), examples()
    model = with_links(TimeModel(0.0, 1e-9, sum(p.numel() for p in module.parameters())))
    found = {}
    for workers in WORKERS[:1] if ranks == 1 else WORKERS[1:]:
        exchange = exchange_of(module, ranks, workers, model)
        for size in STUDY["batch_sizes"]:  # type: ignore[attr-defined]
            local = max(size // workers, 1)
            if size >= workers:
                taken = _repeat(module, inputs[:local], targets[:local], exchange, seconds, ranks)
                found[f"{workers} {size}"] = [float(np.min(taken)), float(np.median(taken))]
    return found


def _repeat(module: Any, inputs: Any, targets: Any, exchange: Step, seconds: float, ranks: int) -> list[float]:
    """Seconds of each of some steps, of the slower rank; as many on every rank."""
    import torch
    import torch.distributed as dist

    taken: list[float] = []
    count = 10
    while len(taken) < count:
        start = time.perf_counter()
        train_step(module, inputs, targets, exchange, 0.0)
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


def train(depth: int, rank: int, ranks: int, size: int, step_size: float) -> list[float]:
    """[steps, seconds in steps] until the training accuracy meets the target, checked after every epoch."""
    import torch

    module, (inputs, targets) = network(depth), examples()
    model = with_links(TimeModel(0.0, 1e-9, sum(p.numel() for p in module.parameters())))
    exchange = exchange_of(module, ranks, ranks, model)
    order, steps, spent = torch.Generator().manual_seed(0), 0, 0.0
    for _epoch in range(int(STUDY["max_epochs"])):  # type: ignore[call-overload]
        start = time.perf_counter()
        for batch in torch.randperm(len(inputs), generator=order).split(size):
            if len(batch) == size:
                mine = batch.tensor_split(ranks)[rank]
                train_step(module, inputs[mine], targets[mine], exchange, step_size)
                steps += 1
        spent += time.perf_counter() - start
        with torch.no_grad():
            if float((module(inputs).argmax(1) == targets).double().mean()) >= 0.98:
                return [steps, spent]
    return [math.inf, spent]


def with_links(model: TimeModel) -> TimeModel:
    return TimeModel(**{**vars(model), "bandwidth": BANDWIDTH, "latency": LATENCY})


def on_ranks(ranks: int, function: str, *arguments: Any) -> Any:
    """What rank 0 of so many processes returns from `function(depth, rank, ranks, ...)`."""
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
    depth, *rest = arguments
    answer = globals()[function](depth, rank, ranks, *rest)
    if rank == 0:
        (Path(folder) / "answer.json").write_text(json.dumps(answer))


def shape_record(depth: int, sweep: Sweep, fit: CriticalBatchFit, step_sizes: dict[int, float], seconds: float) -> Any:
    inputs, targets = examples()
    calibration = TimeModel.calibrate(
        network(depth), bs_loss, inputs, targets, local_batches=LOCAL_BATCHES, device="cpu", seconds=4.0
    )
    print(f"{sweep.shape}: {calibration}\n  {fit}", flush=True)
    model = with_links(calibration.model)
    measured = on_ranks(1, "time_steps", depth, seconds) | on_ranks(2, "time_steps", depth, seconds)
    steps = dict(zip(sweep.batch_sizes.astype(int).tolist(), sweep.typical(sweep.steps).tolist(), strict=True))
    met = [size for size, needed in steps.items() if math.isfinite(needed)]
    times = {
        "measured": {(p, b): steps[b] * measured[f"{p} {b}"][0] for p in WORKERS for b in met if b >= p},
        "predicted": {(p, b): float(fit.predicted([b])[0] * model.step(b, p)) for p in WORKERS for b in met if b >= p},
    }
    kept = min(met, key=lambda size: times["measured"][1, size])
    curves = {kind: _curves(found, met, kept) for kind, found in times.items()}
    trained = _trained(depth, met, step_sizes, fit, model, times["measured"])
    return {
        "shape": sweep.shape,
        "parameters": model.num_parameters,
        "fit": fit.as_dict(),
        "steps": steps,
        "calibration": calibration.as_dict(),
        "model": model.as_dict(),
        "step_seconds": measured,
        "kept_batch": kept,
        "speedups": curves,
        "trained": trained,
        "saturation": _saturations(model, fit, kept),
    }


def bs_loss(outputs: Any, targets: Any) -> Any:
    import torch.nn.functional as F

    return F.cross_entropy(outputs, targets)


def _curves(times: dict[tuple[int, int], float], met: list[int], kept: int) -> dict[str, Any]:
    """Speed-up over the best of one worker: at the best batch size of each P, and at the one kept."""
    least = {p: min((times[p, b], b) for b in met if b >= p) for p in WORKERS if max(met) >= p}
    alone = least[1][0]
    return {
        "best_batch": {p: batch for p, (_, batch) in least.items()},
        "best": {p: alone / seconds for p, (seconds, _) in least.items()},
        "kept": {p: alone / times[p, kept] for p in WORKERS if kept >= p},
    }


def _saturations(model: TimeModel, fit: CriticalBatchFit, kept: int) -> dict[str, str]:
    best = bs.scaling.advise(model, fit, workers=range(1, 129))
    fixed = bs.scaling.advise(model, fit, workers=range(1, 129), batch_size=kept)
    return {"best": best.saturation.text, "kept": fixed.saturation.text, "sentence": best.sentence}


def _trained(
    depth: int,
    met: list[int],
    step_sizes: dict[int, float],
    fit: CriticalBatchFit,
    model: TimeModel,
    measured: dict[tuple[int, int], float],
) -> dict[str, Any]:
    """Trained to the target on 1 and 2 real ranks, each at its best batch size that ran."""
    found = {}
    for ranks in (1, 2):
        size = min(met, key=lambda b: measured[ranks, b])
        steps, seconds = on_ranks(ranks, "train", depth, size, step_sizes[size])
        predicted = float(fit.predicted([size])[0] * model.step(size, ranks))
        found[str(ranks)] = {"batch_size": size, "steps": steps, "seconds": seconds, "predicted": predicted}
    return found


def table(records: Sequence[Any]) -> str:
    lines = ["speed-up over one worker     best B of each P               B kept"]
    for record in records:
        lines.append(f"{record['shape']} ({record['parameters']} parameters), B kept = {record['kept_batch']}")
        lines.append("   P   best B   measured  predicted   measured  predicted")
        curves = record["speedups"]
        for p in curves["measured"]["best"]:
            numbers = [curves[kind][which].get(p, math.nan) for which in ("best", "kept") for kind in curves]
            batch = curves["measured"]["best_batch"][p]
            lines.append(f"{p:4d} {batch:8d}" + "".join(f"{number:11.2f}" for number in numbers))
        lines += [
            f"  a worker saves 3 % up to P = {record['saturation'][which]} ({which} B)" for which in ("best", "kept")
        ]
        lines += [_trained_line(ranks, run) for ranks, run in record["trained"].items()]
    return "\n".join(lines)


def _trained_line(ranks: str, run: dict[str, float]) -> str:
    return (
        f"  trained on {ranks} rank(s), B = {run['batch_size']}: {run['steps']:.0f} steps, {run['seconds']:.3g} s; "
        f"predicted {run['predicted']:.3g} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="runs/workers", help="where the study is kept")
    parser.add_argument("--seconds", type=float, default=0.15, help="of timing per number of workers and batch size")
    arguments = parser.parse_args()
    results = bs.run(bs.Study(**STUDY), out=arguments.out)
    fits, sweeps = bs.fit(results), bs.analysis.sweeps_of(results)
    records = []
    for depth, (shape, sweep) in zip(DEPTHS, sweeps.items(), strict=True):
        finals = [row for row in results.rows if row.shape == shape and row.phase == "final"]
        step_sizes = {row.batch_size: row.step_size for row in finals}
        records.append(shape_record(depth, sweep, fits[shape], step_sizes, arguments.seconds))
    print(table(records))
    links = {"bandwidth": BANDWIDTH, "latency": LATENCY, "pattern": "ring"}
    print(write("workers", {"machine": describe(), "links": links, "study": STUDY, "shapes": records}))


if __name__ == "__main__":
    main()
