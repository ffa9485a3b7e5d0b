"""From a trained cohort to its rows: flat, complete, one per trial. No torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from batchscope.option import options_given
from batchscope.records.row import Evaluation, Outcome, Row
from batchscope.running import provenance
from batchscope.studies.plan import is_widening
from batchscope.studies.study import Study
from batchscope.studies.trial import Cohort, Trial
from batchscope.training.settings import MemberResult

WIDENED = "step size beyond the study's grid, which was widened"


def rows_of(
    study: Study,
    cohort: Cohort,
    results: Sequence[MemberResult] | None,
    seconds: float,
    device: str,
    message: str = "",
) -> tuple[Row, ...]:
    """Return one row per trial; with results None every trial of the cohort CRASHED, for the reason in `message`."""
    share = seconds / len(cohort.trials)
    outcomes = [_crashed(message) for _ in cohort.trials] if results is None else [_outcome(r) for r in results]
    return tuple(
        _row(study, trial, outcome, share, device) for trial, outcome in zip(cohort.trials, outcomes, strict=True)
    )


def _row(study: Study, trial: Trial, outcome: dict[str, Any], seconds: float, device: str) -> Row:
    net, settings = trial.architecture, trial.settings
    if is_widening(study, trial.phase, trial.step_size):
        outcome = outcome | {"message": "; ".join(filter(None, (WIDENED, outcome["message"])))}
    return Row(
        trial_id=trial.id,
        study=study.name,
        protocol=study.protocol,
        phase=trial.phase,
        dataset=study.dataset,
        data_fingerprint=trial.data.fingerprint,
        num_examples=trial.data.num_examples,
        family=net.family,
        shape=net.label,
        input_shape=net.input_shape,
        d_out=net.d_out,
        depth=net.depth,
        width=net.width,
        num_weights=net.num_weights,
        num_parameters=net.num_parameters,
        multiply_adds=net.multiply_adds,
        batch_size=settings.batch_size,
        step_size=trial.step_size,
        seed=trial.seed,
        target_metric=settings.target.metric,
        target_value=settings.target.value,
        stop_at_target=settings.stop_at_target,
        seconds=seconds,
        device=device,
        versions=provenance.versions(),
        commit=provenance.commit(),
        **options_given(net),
        **options_given(settings),
        **outcome,
    )


def _outcome(result: MemberResult) -> dict[str, Any]:
    last = result.history[-1]
    bounds = [entry.batch_size_bound for entry in result.history if entry.batch_size_bound is not None]
    return {
        "outcome": result.outcome,
        "epochs_to_target": result.epochs_to_target,
        "steps_to_target": result.steps_to_target,
        "epochs_run": last.epoch,
        "steps_run": last.step,
        "train_loss": _known(last.train_loss),
        "train_accuracy": _known(last.train_accuracy),
        "heldout_accuracy": _known(last.heldout_accuracy),
        "heldout_loss": _known(last.heldout_loss),
        "train_metric": _known(last.train_metric),
        "batch_size_bound": _known(math.fsum(bounds) / len(bounds)) if bounds else None,
        "message": result.message,
        "execution": str(result.execution),
        "history": tuple(result.history),
    }


def _crashed(message: str) -> dict[str, Any]:
    nothing: tuple[Evaluation, ...] = ()
    missing = ("epochs_to_target", "steps_to_target", "train_loss", "train_accuracy", "heldout_accuracy")
    return dict.fromkeys((*missing, "batch_size_bound")) | {
        "outcome": Outcome.CRASHED,
        "epochs_run": 0.0,
        "steps_run": 0,
        "message": message,
        "history": nothing,
    }


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
