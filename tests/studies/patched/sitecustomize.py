"""On PYTHONPATH of a test's command line: replaces the trainer in it and in its worker processes.

A stand-in for torch too, which those never use beyond the number of threads: a process then starts in a third of the
time, and tests can kill more of them.
"""

import os
import sys
import types


def patch() -> None:
    sys.path.append(os.path.join(os.path.dirname(__file__), ".."))
    import fake_trainer

    import batchscope.training

    batchscope.training.train_cohort = fake_trainer.train_cohort
    torch = types.ModuleType("torch")
    torch.get_num_threads = lambda: 1
    torch.set_num_threads = lambda number: None
    torch.Tensor = type("Tensor", (), {})  # scipy asks whether its arrays are tensors
    torch.cuda = types.SimpleNamespace(is_available=lambda: False)
    sys.modules["torch"] = torch


# Of the programs that make up a Ray cluster only the workers train.
RAY = os.path.join("site-packages", "ray", "")
if not any(RAY in word and word.endswith(".py") and "default_worker" not in word for word in sys.orig_argv):
    patch()
