"""A cohort as a job for an executor, and its end. No torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from batchscope.studies.dataset import DataRequest
from batchscope.studies.trial import Cohort
from batchscope.training.settings import MemberResult


@dataclass(frozen=True)
class Job:
    """A cohort to train on requested data, going on from its checkpoint if there is one.

    folders: where the user's own code and data are looked for (importing.py), for a worker that was started elsewhere.
    """

    cohort: Cohort
    data: DataRequest
    checkpoint: str | None = None  # file for the state between epochs
    folders: tuple[str, ...] = ()

    @property
    def own_code(self) -> dict[str, str]:
        """What of the user's own the cohort runs, ``package.module:name`` -> what it is for: family, loss, metric."""
        settings = self.cohort.settings
        named = {self.cohort.architecture.family: "family", settings.loss: "loss", settings.metric: "metric"}
        return {name: what for name, what in named.items() if ":" in name}


@dataclass(frozen=True)
class Finished:
    """The end of a job. results: in the order of the members, or None when it crashed; then `message` says why."""

    job: Job
    results: tuple[MemberResult, ...] | None
    seconds: float
    message: str = ""


# Called with (job, epochs done, members still running).
OnProgress = Callable[[Job, int, int], None]
