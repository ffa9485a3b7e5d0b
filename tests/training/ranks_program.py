"""Run by torchrun in the tests: trains every case on all ranks and writes rank 0's weights and histories."""

from __future__ import annotations

import sys

import torch
import torch.distributed as dist

from batchscope.training.cohort import RunningCohort
from batchscope.training.parallel import Ranks, join, launched
from tests.training.ranks_cases import CASES, Case, dataset


def train(case: Case, ranks: Ranks, device: str) -> dict[str, object]:
    settings = case.settings(ranks.size)
    cohort = RunningCohort(case.net, dataset(case.net), settings, case.members, torch.device(device), ranks)
    cohort.begin()
    for epoch in range(settings.max_epochs):
        cohort.train_epoch(epoch)
    return {
        "modules": [network.module.state_dict() for network in cohort.engine.networks],  # type: ignore[attr-defined]
        "losses": [[entry.train_loss for entry in history] for history in cohort.histories],
        "noise": [[entry.noise_scale for entry in history] for history in cohort.histories],
    }


def main(out: str) -> None:
    ranks = launched()
    assert ranks is not None
    torch.set_num_threads(1)
    device = join("cpu")
    results = {name: train(case, ranks, device) for name, case in CASES.items()}
    if ranks.rank == 0:
        torch.save(results, out)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
