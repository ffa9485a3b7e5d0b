"""Does the order of B_S over shapes depend on the initial weights? Measured on initial nets; nothing is trained.

The theorems draw weights from N(0, 1); people use other scales. For the shapes of Figure 2 (linear nets, synthetic set)
and Figure 3(b) (ReLU nets, MNIST), exact over the training set, five nets each.

    python -m reproduction.initialisations            about two minutes; writes results/initialisations.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from batchscope.architectures.initialisation import INITIALISATIONS
from batchscope.recipes import chen2018
from batchscope.studies import Study
from batchscope.studies.dataset import DataRequest, facts, load_data
from batchscope.studies.plan import architectures, settings
from batchscope.training.settings import Member
from batchscope.training.stacked.stack_engine import StackEngine
from reproduction.command import ended

OUT = Path(__file__).parent.parent / "results" / "initialisations.json"
SEEDS = 5
DEPTHS = (1, 2, 5, 10)


def lines_of(study: Study) -> list[dict[str, Any]]:
    """One line for each initialisation and depth: B_S of SEEDS initial nets and their geometric mean."""
    data = load_data(DataRequest.of(study))
    found = []
    for scheme in INITIALISATIONS:
        asked = Study.from_dict(study.to_dict() | {"initialisation": scheme, "depths": DEPTHS})
        for net in architectures(asked, facts(data, study.seed)):
            members = [Member(0.0, seed) for seed in range(1, SEEDS + 1)]
            engine = StackEngine(net, data, settings(asked, 32, "final"), members, torch.device("cpu"))
            with torch.inference_mode():
                bounds = engine.bounds()
            line = {"study": study.name, "initialisation": scheme, "depth": net.depth, "width": net.width}
            found.append(line | {"bounds": bounds, "mean": float(np.exp(np.log(bounds).mean()))})
    return found


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args(words)
    lines = [line for study in (chen2018.figure2(), chen2018.figure3("b")) for line in lines_of(study)]
    for line in lines:
        shape = f"L={line['depth']:2d} K={line['width']:3d}"
        print(f"{line['study']:20s} {line['initialisation']:16s} {shape} {line['mean']:.4g}")
    arguments.out.write_text(json.dumps({"seeds": SEEDS, "lines": lines}, indent=1) + "\n")


if __name__ == "__main__":
    raise SystemExit(ended("initialisations", main))
