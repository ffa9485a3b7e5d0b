"""What a noise scale says of a batch size: what it costs, whether it could grow, whether it is too large. No torch.

The model is that of McCandlish et al. (2018, Eq. 2.11 and Section 2.3) at one moment of training, with the noise scale
in the place of B_crit: examples to the same progress = E_min (1 + B/B_noise), steps = S_min (1 + B_noise/B).
"""

from __future__ import annotations

import math
from typing import Protocol

from batchscope.analysis.formatting import batch_size, bounds_text, number
from batchscope.theory.mccandlish2018 import examples_to_target, steps_to_target

MOST_EXTRA_EXAMPLES = 0.30  # that a hint proposes, at the low end of the interval (assumption)
BEYOND = 2.0  # times the high end of the interval: examples then cost three times the fewest (assumption)
SOURCE = "McCandlish et al. 2018"


class NoiseLike(Protocol):
    """A noise scale with its interval, in examples: `NoiseWindow`, or anything that has these.

    value: NaN where the steps do not give one. low, high: high = inf means "at least low"; both NaN without interval.
    """

    @property
    def value(self) -> float:
        """The noise scale, in examples."""

    @property
    def low(self) -> float:
        """The lower end of its interval, in examples."""

    @property
    def high(self) -> float:
        """The upper end of its interval, in examples; inf for "at least"."""


def extra_examples(smaller: float, larger: float, noise_scale: float) -> float:
    """E(larger)/E(smaller) - 1 = (1 + larger/B_noise)/(1 + smaller/B_noise) - 1; 0 for an infinite noise scale."""
    if math.isinf(noise_scale):
        return 0.0
    return examples_to_target(larger, 1.0, noise_scale) / examples_to_target(smaller, 1.0, noise_scale) - 1


def fewer_steps(smaller: float, larger: float, noise_scale: float) -> float:
    """1 - S(larger)/S(smaller), S = S_min (1 + B_noise/B); 1 - smaller/larger for an infinite noise scale."""
    if math.isinf(noise_scale):
        return 1 - smaller / larger
    return 1 - steps_to_target(larger, 1.0, noise_scale) / steps_to_target(smaller, 1.0, noise_scale)


def room_to_grow(size: float, noise: NoiseLike, most_extra: float = MOST_EXTRA_EXAMPLES) -> int:
    """The largest power of two by which a batch of `size` may grow; 1 for none.

    Examples grow by `most_extra` at most, also where the noise scale is at the low end of its interval.
    """
    factor = 1
    while noise.low > 0 and extra_examples(size, 2 * factor * size, noise.low) <= most_extra and factor < 2**20:
        factor *= 2
    return factor


def hint(size: float, noise: NoiseLike, most_extra: float = MOST_EXTRA_EXAMPLES) -> str | None:
    """Say that a batch could grow, by how much and what that costs; None where it could not.

    >>> from types import SimpleNamespace
    >>> hint(64, SimpleNamespace(value=900.0, low=600.0, high=1500.0))  # doctest: +NORMALIZE_WHITESPACE
    'batch 64, noise scale 900 [600, 1500]: 4x larger costs about 20 % [12 %, 29 %] more examples and 70 % fewer steps
    (McCandlish et al. 2018)'
    """
    factor = room_to_grow(size, noise, most_extra)
    if factor == 1:
        return None
    larger, bounded = factor * size, noise.value > 0 and math.isfinite(noise.high)
    least, most = (_percent(extra_examples(size, larger, one)) for one in (noise.high, noise.low))
    about = f"about {_percent(extra_examples(size, larger, noise.value))} [{least}, {most}]" if bounded else ""
    extra = about or f"at most {most}"
    steps = _percent(fewer_steps(size, larger, noise.value if bounded else noise.low))
    fewer = steps if bounded else f"at least {steps}"
    return (
        f"batch {batch_size(size)}, noise scale {noise_text(noise)}: {factor}x larger costs {extra} more examples and "
        f"{fewer} fewer steps ({SOURCE})"
    )


def warning(size: float, noise: NoiseLike, beyond: float = BEYOND) -> str | None:
    """Say that a batch is more than `beyond` times the noise scale, all of its interval; None where it is not."""
    if not size > beyond * noise.high:
        return None
    at = noise.value if noise.value > 0 else noise.high
    return (
        f"batch {batch_size(size)} is more than {number(beyond)} times the noise scale {noise_text(noise)}: examples "
        f"cost {number(1 + size / at)} times the fewest, at a batch of {batch_size(at)} they would cost 2 times "
        f"({SOURCE})"
    )


def noise_text(noise: NoiseLike) -> str:
    """``900 [600, 1500]``, ``at least 600``, or ``unknown``."""
    if math.isnan(noise.low):
        return "unknown" if math.isnan(noise.value) else number(noise.value)
    if noise.high == math.inf:
        return f"at least {batch_size(noise.low)}"
    return f"{batch_size(noise.value)} {bounds_text((noise.low, noise.high))}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
