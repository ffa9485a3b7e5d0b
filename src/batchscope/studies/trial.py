"""`Trial`: one training run, by everything that affects its numbers; `Cohort`: trials trained together. No torch."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from batchscope.architectures.architecture import Architecture
from batchscope.digest import short_digest
from batchscope.option import canonical
from batchscope.studies.dataset import DataFacts
from batchscope.training.settings import Member, Settings

# Part of every trial's identity. Raise it when the same trial would train to other numbers than before: a change of
# initial values, of the epoch order, of an update rule, of how inputs are standardised.
NUMERICS_VERSION = 1

TUNE, FINAL = "tune", "final"


@dataclass(frozen=True)
class Trial:
    """One run: architecture, data, settings, step size and seed.

    phase: "tune" (choosing a step size) or "final" (reported); it follows from the rest and is not hashed.
    """

    architecture: Architecture
    data: DataFacts
    settings: Settings
    step_size: float
    seed: int
    phase: str

    @functools.cached_property
    def id(self) -> str:
        """Digest of everything that affects the numbers, as canonical JSON.

        Joined from the texts of its parts, which many trials share: a resumed study makes the identities of all.
        """
        text = (
            f'{{"architecture":{self.architecture.identity},"data":{self.data.identity},"numerics":{NUMERICS_VERSION},'
            f'"seed":{_number(self.seed)},"settings":{self.settings.identity},"step_size":{_number(self.step_size)}}}'
        )
        return short_digest(text)


@functools.lru_cache(maxsize=4096, typed=True)  # typed: 1 and 1.0 are two texts
def _number(value: float) -> str:
    return canonical(value)


@dataclass(frozen=True)
class Cohort:
    """Trials of one architecture and one set of settings, trained together and stored together.

    Trained and stored as a whole, always with the same members in the same order, a cohort's rounding does not depend
    on when a study was interrupted.
    """

    study: str
    trials: tuple[Trial, ...]

    @property
    def architecture(self) -> Architecture:
        """The network that all its trials train."""
        return self.trials[0].architecture

    @property
    def settings(self) -> Settings:
        """How all its trials train."""
        return self.trials[0].settings

    @property
    def data(self) -> DataFacts:
        """What all its trials train on."""
        return self.trials[0].data

    @property
    def phase(self) -> str:
        """ "tune" or "final"."""
        return self.trials[0].phase

    @property
    def id(self) -> str:
        """Digest of its study's name and its trials' identities, which another study may have too."""
        return short_digest(" ".join((self.study, *(trial.id for trial in self.trials))))

    @property
    def members(self) -> tuple[Member, ...]:
        """Step size and seed of each trial, in their order."""
        return tuple(Member(trial.step_size, trial.seed) for trial in self.trials)
