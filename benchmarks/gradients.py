"""Exact per-example squared norms: what a whole pass costs, against a plain pass and against other tools.

    python -m benchmarks.gradients [--rounds 7] [--rows fc,...,hf,hf-lora,hf-checkpointed,mnist] [--device cpu|cuda]
        [--threads 2] [--sides ...] [--processor-time] [--out NAME]

Each side makes one pass over one batch: forward, backward of the summed loss, and (all but `plain`) the squared norm of
every example's gradient. The sides take turns within each round; the table shows each side's median and its ratio to
the plain pass of the same round. Memory is given twice: the peak of tensors alive in one pass, and the peak of resident
memory of a fresh process over two passes (ours: a whole `measure` of two batches, with its float64 sums and its audit).
`--threads 1 --processor-time` counts processor time instead: what other work on the machine disturbs least.
Results are compared in the same run; a tool that disagrees by more than 1e-4 is marked wrong and one that fails is
named with its error. The last row, `mnist`, is the time of a whole `measure` over 60 000 examples.

Peers, when installed (`pip install -e .[bench]`): torch.func vmap(grad), Opacus hooks and ghost clipping, BackPACK.
"""

from __future__ import annotations

import functools
import itertools
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.gradient_models import ROWS, Row
from benchmarks.machine import write
from benchmarks.turns import Clock, begin, in_turns, peak, peak_of_process, ratios, reset_peak, step_parser, timed

TOLERANCE = 1e-4  # relative, on per-example squared norms, float32
Step = Callable[[], Tensor | None]  # one pass; the squared norms [N], or None for the plain pass


def plain(row: Row, model: nn.Module, x: Tensor, y: Tensor) -> Step:
    def step() -> None:
        row.loss(model(x), y).sum().backward()
        model.zero_grad(set_to_none=True)

    return step


def batchscope(row: Row, model: nn.Module, x: Tensor, y: Tensor) -> Step:
    """A batch after the first: the trace is made and audited once per measurement, as for any data set."""
    from batchscope.gradients.measurement import Measurement, MeasureOptions
    from batchscope.gradients.subject.batches import make_batch
    from batchscope.gradients.subject.state import eager

    measurement = Measurement(model, row.loss, MeasureOptions())
    batch = make_batch(x, y, x.device)

    def step() -> Tensor:
        with eager():  # as within `running`, which is entered once per measurement
            results = measurement.results(batch)
        return torch.stack([result.sq_norms for result in results.values()]).sum(0)

    with measurement.running():
        step()
    return step


def torch_func(row: Row, model: nn.Module, x: Tensor, y: Tensor) -> Step:
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def loss(parameters: dict[str, Tensor], one: Tensor, target: Tensor) -> Tensor:
        outputs = torch.func.functional_call(model, parameters, (one.unsqueeze(0),))
        return row.loss(outputs, target.unsqueeze(0)).sum()

    gradients = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))

    def step() -> Tensor:
        return sum_of_squares(gradients(parameters, x, y).values())

    return step


def opacus_hooks(row: Row, model: nn.Module, x: Tensor, y: Tensor) -> Step:
    from opacus import GradSampleModule

    wrapped = GradSampleModule(model, loss_reduction="sum")

    def step() -> Tensor:
        row.loss(wrapped(x), y).sum().backward()
        norms = sum_of_squares(p.grad_sample for p in wrapped.parameters())
        for p in wrapped.parameters():
            p.grad = p.grad_sample = None
        return norms

    return step


def opacus_ghost(row: Row, model: nn.Module, x: Tensor, y: Tensor) -> Step:
    from opacus.grad_sample import GradSampleModuleFastGradientClipping

    wrapped = GradSampleModuleFastGradientClipping(
        model, loss_reduction="sum", max_grad_norm=1.0, use_ghost_clipping=True
    )

    def step() -> Tensor:
        row.loss(wrapped(x), y).sum().backward()
        norms = wrapped.get_norm_sample().square()
        for p in wrapped.parameters():
            p.grad = None
            p._norm_sample = None
        return norms

    return step


def backpack_norms(row: Row, model: nn.Module, x: Tensor, y: Tensor) -> Step:
    from backpack import backpack, extend
    from backpack.extensions import BatchL2Grad

    extended = extend(model)
    loss = extend(nn.CrossEntropyLoss(reduction="sum"))

    def step() -> Tensor:
        with backpack(BatchL2Grad()):
            loss(extended(x), y).backward()
        norms = torch.stack([p.batch_l2 for p in extended.parameters()]).sum(0)
        for p in extended.parameters():
            p.grad = None
        return norms

    return step


SIDES = {
    "plain": plain,
    "batchscope": batchscope,
    "torch.func vmap": torch_func,
    "Opacus hooks": opacus_hooks,
    "Opacus ghost": opacus_ghost,
    "BackPACK BatchL2Grad": backpack_norms,
}


def sum_of_squares(gradients: Any) -> Tensor:
    return torch.stack([g.flatten(1).square().sum(1) for g in gradients]).sum(0)


def make(row: Row, side: str, device: str) -> Step:
    """A side's pass, on the same weights and data as every other side's."""
    torch.manual_seed(0)
    model = row.build().to(device)
    x, y = (tensor.to(device) for tensor in row.data())
    return SIDES[side](row, model, x, y)


def print_memory(row: Row, side: str, device: str) -> None:
    """Peak of a whole measurement of two batches (ours: `measure`, with its float64 sums), or of two plain passes.

    Code that is loaded counts for neither: it is there before, as are the pools of threads.
    """
    from batchscope.gradients import measure

    torch.manual_seed(0)
    model = row.build().to(device)
    data = [tuple(tensor.to(device) for tensor in row.data())] * 2
    reset_peak(device)
    before = peak(device)
    if side == "batchscope":
        measure(model, row.loss, data)
    else:
        for x, y in data:
            SIDES[side](row, model, x, y)()
    print(peak(device) - before)


def tensor_peak(step: Step, device: str) -> float:
    """Peak, over one pass, of the MB in tensors that the pass makes."""
    if device == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    changes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    return max(itertools.accumulate(changes)) / 1e6


def run_row(row: Row, sides: list[str], rounds: int, device: str, clock: Clock) -> dict[str, Any]:
    """All sides in turns; name -> milliseconds, ratio to plain, agreement with ours, peak memory."""
    steps: dict[str, Step] = {}
    results: dict[str, Any] = {}
    for side in sides:
        try:
            step = make(row, side, device)
            norms = step()
            steps[side], results[side] = step, {"norms": norms}
        except Exception as error:
            if side in ("plain", "batchscope"):
                raise
            results[side] = {"error": f"{type(error).__name__}: {error}".splitlines()[0][:160]}
    times = in_turns(steps, rounds, device, clock)
    truth = results["batchscope"]["norms"]
    for side in steps:
        norms = results[side].pop("norms")
        results[side] |= {
            "ms": 1e3 * statistics.median(times[side]),
            "ms_least": 1e3 * min(times[side]),
            "ratio": statistics.median(ratios(times[side], times["plain"])),
            "ratio_of_least": min(times[side]) / min(times["plain"]),
            "largest_disagreement": None if norms is None else float(((norms - truth).abs() / truth).max()),
        }
        if clock is not time.perf_counter:
            continue
        results[side]["tensor_peak_mb"] = tensor_peak(steps[side], device)
        if side in ("plain", "batchscope"):
            results[side]["peak_mb"] = peak_of_process("benchmarks.gradients", row.name, side, device)
    return results


def time_data_set(rounds: int, device: str) -> dict[str, Any]:
    """Seconds of `measure` over all of MNIST (without it: over generated data of its shape), audit and all."""
    from batchscope.architectures import build
    from batchscope.gradients import measure
    from benchmarks.diversity import SHAPES, mnist_or_generated, shape

    data = mnist_or_generated()
    pair = torch.from_numpy(data.inputs).to(device), torch.from_numpy(data.targets).to(device)
    loss = nn.MSELoss() if data.num_classes is None else nn.CrossEntropyLoss()
    results: dict[str, Any] = {"data": data.name}
    print(f"\nmeasure, all {data.num_examples} examples of {data.name}")
    for sizes in SHAPES:
        model = build(shape(data, *sizes)).to(device)
        whole = functools.partial(measure, model, loss, pair, batch_size=1024)
        seconds = [timed(whole, device) for _ in range(rounds)]
        name = shape(data, *sizes).label
        results[name] = {"seconds": statistics.median(seconds), "seconds_least": min(seconds)}
        print(f"  {name:22s} {statistics.median(seconds):6.2f} s  (least {min(seconds):.2f} s)")
    return results


def show(row: Row, results: dict[str, Any]) -> None:
    print(f"\n{row.title}")
    for side, result in results.items():
        if "error" in result:
            print(f"  {side:22s} fails: {result['error']}")
            continue
        wrong = result["largest_disagreement"] is not None and not result["largest_disagreement"] < TOLERANCE
        note = f"  WRONG by up to {result['largest_disagreement']:.2g}" if wrong else ""
        memory = f"  tensors {result['tensor_peak_mb']:.1f} MB" if "tensor_peak_mb" in result else ""
        memory += f", resident {result['peak_mb']:.0f} MB" if "peak_mb" in result else ""
        print(
            f"  {side:22s} {result['ms']:9.2f} ms  x{result['ratio']:.2f}  "
            f"(least {result['ms_least']:.2f} ms, x{result['ratio_of_least']:.2f}){memory}{note}"
        )


def main() -> None:
    parser = step_parser(__doc__, (*ROWS, "mnist"), "gradients", "SIDE", rounds=7, threads=2)
    parser.add_argument("--sides", default=",".join(SIDES), help="plain and batchscope always run")
    arguments = parser.parse_args()
    clock, record = begin(arguments, "opacus", "backpack-for-pytorch")
    if arguments.memory_of:
        print_memory(ROWS[arguments.memory_of[0]], arguments.memory_of[1], arguments.device)
        return
    if arguments.processor_time and arguments.threads > 1:
        parser.error("--processor-time counts threads that wait for each other: expected --threads 1 with it")
    sides = [side for side in SIDES if side in ("plain", "batchscope", *arguments.sides.split(","))]
    record |= {"tolerance": TOLERANCE, "rows": {}}
    for name in arguments.rows.split(","):
        if name == "mnist":
            record["mnist"] = time_data_set(arguments.rounds, arguments.device)
            continue
        record["rows"][name] = run_row(ROWS[name], sides, arguments.rounds, arguments.device, clock)
        show(ROWS[name], record["rows"][name])
    print("\nwritten to", write(arguments.out, record))


if __name__ == "__main__":
    main()
