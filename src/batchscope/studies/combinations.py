"""Keys of a study that are possible one by one and not together: each has one message. No torch."""

from __future__ import annotations

from collections.abc import Sequence

from batchscope.options import TrainingOptions
from batchscope.studies import bounds

# Update rules whose step is proportional to the gradient, so that one step size for the sum of losses means something.
PROPORTIONAL = ("sgd", "nesterov")


def check_size(depths: Sequence[int], num_batch_sizes: int) -> None:
    """Raise ValueError for more layers in all cells than a study may have."""
    layers = num_batch_sizes * sum(depth + 1 for depth in depths)
    if layers > bounds.MOST_LAYERS:
        raise ValueError(
            f"its cells have {layers} layers in all; expected at most {bounds.MOST_LAYERS}: fewer batch sizes, or "
            "fewer or less deep shapes"
        )


def check_protocol(protocol: str, optimizer: str, sum_step_size: float | None, has_grid: bool) -> None:
    """Raise ValueError where the step sizes given are not those that the protocol takes."""
    fixed = protocol == "fixed"
    if fixed and (sum_step_size is None or has_grid):
        raise ValueError(
            "protocol = 'fixed' takes one step size at all batch sizes; expected sum_step_size, and no step_sizes"
        )
    if not fixed and sum_step_size is not None:
        raise ValueError(f"sum_step_size is for protocol 'fixed', not {protocol!r}; leave it out")
    if fixed and optimizer not in PROPORTIONAL:
        raise ValueError(
            f"protocol = 'fixed' with optimizer {optimizer!r}, whose steps are as long for the sum of losses as "
            f"for their mean; expected one of {', '.join(PROPORTIONAL)}"
        )


def check_race(race: bool, protocol: str) -> None:
    """Raise ValueError for a race under a protocol that does not choose the first to meet the target."""
    if race and protocol != "tuned":
        raise ValueError(
            f"race = true with protocol {protocol!r}, which does not choose the step size that meets the target "
            "first; leave it out, or give protocol = 'tuned'"
        )


def check_schedule(options: TrainingOptions) -> None:
    """Raise ValueError where a warm-up leaves nothing of the run or of its schedule, or there is no schedule to end."""
    length, warm_up = options.schedule_epochs or options.max_epochs, options.warmup_epochs
    if options.schedule == "constant" and options.schedule_epochs:
        raise ValueError(
            f"schedule_epochs = {options.schedule_epochs} with schedule 'constant', which has no end; leave it out, or "
            "give schedule = 'linear' or 'cosine'"
        )
    if warm_up and warm_up >= length:
        key = "schedule_epochs" if options.schedule_epochs else "max_epochs"
        raise ValueError(f"warmup_epochs = {warm_up:g} leaves nothing of {key} = {length}; expected less")
