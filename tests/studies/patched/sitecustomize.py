"""On PYTHONPATH of a test's command line: replaces the trainer in it and in its worker processes."""

import os
import sys

sys.path.append(os.path.join(os.path.dirname(__file__), ".."))

import fake_trainer

import batchscope.training

batchscope.training.train_cohort = fake_trainer.train_cohort
