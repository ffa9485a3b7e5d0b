"""Step sizes that change along a run: warm-up, then constant, linear or cosine. No torch."""

from __future__ import annotations

import math

from batchscope.training.settings import Settings


def step_size_factor(settings: Settings, step: int, steps_per_epoch: int) -> float:
    """Return what the step size is multiplied by at update `step`, counted from 1 over the whole run.

    Warm-up over W steps: step / W (the gradual warm-up of Goyal et al. 2017, section 2.2, from 0). Then with progress
    p from 0 at the first step after it to 1 at the end of the schedule: constant 1, linear 1 - p, cosine
    (1 + cos(pi p)) / 2 (Loshchilov & Hutter 2017, one period). Beyond the schedule's end the last two stay at 0.
    """
    warm_up = settings.warmup_epochs * steps_per_epoch
    if step < warm_up:
        return step / warm_up
    if settings.schedule == "constant":
        return 1.0
    total = (settings.schedule_epochs or settings.max_epochs) * steps_per_epoch
    start = max(1.0, warm_up)
    progress = min(1.0, (step - start) / max(1.0, total + 1 - start))
    return 1 - progress if settings.schedule == "linear" else (1 + math.cos(math.pi * progress)) / 2
