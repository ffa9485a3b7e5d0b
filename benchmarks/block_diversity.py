"""Gradient diversity of a residual net, block by block and kind by kind, before and after training on real CIFAR-10.

    python -m benchmarks.block_diversity [--norm group_norm] [--seeds 3] [--checkpoints DIR]

ResNet-18 (2-2-2-2 blocks) of 16 filters on a random subset of 2000 images, trained to 90 % training accuracy and
measured by `batchscope.measure` over the same images, which are all there is; BatchNorm with the statistics of 256
images at a time. Prints Markdown tables; writes docs/figures/block_diversity-NORM.png and
results/block_diversity-NORM.json. About 3 minutes a seed on two free cores.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from batchscope.architectures import Architecture, build
from batchscope.data import Dataset, load
from batchscope.gradients import Report, measure
from batchscope.gradients.parts import Part
from batchscope.records.row import Evaluation, Target
from batchscope.report.charts.blocks import block_diversity
from batchscope.report.drawing import static
from batchscope.training import Member, Settings
from batchscope.training.cohort import RunningCohort
from benchmarks.machine import describe, write

FIGURES = Path(__file__).parent.parent / "docs" / "figures"

NUM_EXAMPLES, FILTERS, STEP_SIZE = 2000, 16, 0.02
SETTINGS = Settings(32, Target("train_accuracy", 0.9), max_epochs=60, momentum=0.9, initialisation="he")


@dataclass(frozen=True)
class Trained:
    """A network at the target, and how it came there."""

    module: nn.Module
    end: Evaluation


def train(architecture: Architecture, dataset: Dataset, seed: int) -> Trained:
    """Train one member to the target; RuntimeError when it does not get there."""
    cohort = RunningCohort(architecture, dataset, SETTINGS, [Member(STEP_SIZE, seed)], torch.device("cpu"))
    epoch = cohort.begin()
    while cohort.running and epoch < SETTINGS.max_epochs:
        cohort.train_epoch(epoch)
        epoch += 1
    end = cohort.histories[0][-1]
    if 0 not in cohort.reached:
        raise RuntimeError(f"seed {seed} of {architecture} is at {end} after {epoch} epochs: not {SETTINGS.target}")
    return Trained(cohort.engine.networks[0].module, end)  # type: ignore[attr-defined]


def trained(architecture: Architecture, dataset: Dataset, seed: int, folder: Path | None) -> Trained:
    """`train`, or what an earlier call left in `folder`."""
    path = folder / f"{architecture.norm}-{seed}.pt" if folder else None
    if path and path.exists():
        saved = torch.load(path, weights_only=True)
        module = build(architecture, SETTINGS.initialisation, seed)
        module.load_state_dict(saved["model"])
        return Trained(module, Evaluation(**saved["end"]))
    result = train(architecture, dataset, seed)
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"model": result.module.state_dict(), "end": dataclasses.asdict(result.end)}, path)
    return result


def measured(module: nn.Module, dataset: Dataset) -> Report:
    data = (torch.from_numpy(dataset.inputs), torch.from_numpy(dataset.targets))
    return measure(module, F.cross_entropy, data, batch_size=256, batchnorm="frozen")


def table(by: str, before: Sequence[Mapping[str, Part]], after: Sequence[Mapping[str, Part]]) -> str:
    """Median [least, most] over seeds of B_S, and the median share of S1, in Markdown."""
    lines = [
        f"| {by} | parameters | B_S, initialisation | B_S, trained | share of S1, initialisation | trained |",
        "|---|---|---|---|---|---|",
    ]
    for name, part in before[0].items():
        bounds = [spread([parts[name].batch_size_bound for parts in side]) for side in (before, after)]
        shares = [f"{100 * statistics.median(parts[name].share for parts in side):.1f} %" for side in (before, after)]
        lines.append(" | ".join((f"| {name}", f"{part.num_parameters}", *bounds, *shares)) + " |")
    return "\n".join(lines)


def spread(values: Sequence[float]) -> str:
    middle = f"{statistics.median(values):.3g}"
    return middle if len(values) == 1 else f"{middle} [{min(values):.3g}, {max(values):.3g}]"


def total(report: Report) -> dict[str, Part]:
    """All parameters, as one part."""
    parts = report.by_kind.values()
    size = sum(part.num_parameters for part in parts)
    names = tuple(report.by_parameter)
    return {"total": Part(report.num_examples, report.sum_sq_norms, report.sq_norm_sum, names, size, 1.0)}


def numbers(report: Report) -> dict[str, Any]:
    return {
        " / ".join(key): {"parameters": p.num_parameters, "S1": p.sum_sq_norms, "Q": p.sq_norm_sum}
        for key, p in report.by_block_and_kind.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--norm", choices=("group_norm", "batch_norm"), default="group_norm")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--checkpoints", type=Path, metavar="DIR", help="keep the trained nets here, or take them")
    arguments = parser.parse_args()
    dataset = dataclasses.replace(load("cifar10", num_examples=NUM_EXAMPLES), heldout_inputs=None, heldout_targets=None)
    shape = dataset.inputs.shape[1:]
    architecture = Architecture("resnet18_blocks", shape, dataset.d_out, 2, FILTERS, norm=arguments.norm)
    seeds = range(arguments.seeds)
    nets = [trained(architecture, dataset, seed, arguments.checkpoints) for seed in seeds]
    before = [measured(build(architecture, SETTINGS.initialisation, seed), dataset) for seed in seeds]
    after = [measured(net.module, dataset) for net in nets]
    about = f"{architecture}; CIFAR-10, n = {NUM_EXAMPLES} images, seeds: {arguments.seeds}"
    print(about)
    for seed, net in zip(seeds, nets, strict=True):
        print(f"seed {seed}: {net.end.epoch:g} epochs, training accuracy {net.end.train_accuracy:.4f}")
    print("\n" + table("kind", [r.by_kind | total(r) for r in before], [r.by_kind | total(r) for r in after]))
    print("\n" + table("block", [r.by_block for r in before], [r.by_block for r in after]))
    name = f"block_diversity-{arguments.norm}"
    panels = {"at initialisation": before, f"after training to {100 * SETTINGS.target.value:g} % accuracy": after}
    print("\nfigure:", static.write(block_diversity(panels), FIGURES / f"{name}.png", about))
    record = {
        "machine": describe(), "about": about, "fingerprint": dataset.fingerprint, "step_size": STEP_SIZE,
        "settings": dataclasses.asdict(SETTINGS), "seeds": [
            {"seed": seed, "end": dataclasses.asdict(net.end), "before": numbers(a), "after": numbers(b)}
            for seed, net, a, b in zip(seeds, nets, before, after, strict=True)
        ],
    }  # fmt: skip
    print("written to", write(name, record))


if __name__ == "__main__":
    main()
