"""How many workers does that buy? Time per step, time to target and cost against the number of workers. No torch.

`TimeModel.calibrate` times a network here (torch is imported then), `advise` says what each number of workers buys,
`design` picks the shape and the batch size for a number of workers.
"""

from __future__ import annotations

from batchscope.scaling.advice import Advice, Point, Saturation
from batchscope.scaling.advising import advise
from batchscope.scaling.design import Candidate, Design, design
from batchscope.scaling.steps import StepsCurve
from batchscope.scaling.time_model import TimeModel

__all__ = ["Advice", "Candidate", "Design", "Point", "Saturation", "StepsCurve", "TimeModel", "advise", "design"]
