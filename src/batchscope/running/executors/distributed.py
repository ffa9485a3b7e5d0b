"""One cohort at a time on all ranks that torchrun started: rank 0 hands out the work and keeps the results.

torchrun --nproc-per-node P --no-python batchscope run STUDY --out DIR

Not `-m batchscope`, with which Python lets every file of the current directory stand for a module of its own.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

from batchscope.errors import BatchscopeError, RunError
from batchscope.running.executors.inline import InlineExecutor, Performed
from batchscope.running.freed_memory import return_freed_memory
from batchscope.running.job import Job
from batchscope.running.work import OnEpoch, explain, train

LOOK_EVERY = 0.5  # seconds between two looks whether the launcher is alive
_LOST = (
    "a process of this run died; what was finished is kept, and the same command goes on after the last complete epoch"
)


def launched() -> bool:
    """Whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def leads() -> bool:
    """Whether this process is an ordinary one or rank 0: the one that writes and prints."""
    return not launched() or os.environ["RANK"] == "0"


def end_with_launcher() -> None:
    """End this rank soon after torchrun, which may be killed without a word to its ranks.

    They would go on for ever, or wait for each other, with the directory locked.
    """
    threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()


def _watch(launcher: int) -> None:
    while os.getppid() == launcher:
        time.sleep(LOOK_EVERY)
    if leads():
        print(f"torchrun has ended; {_LOST.partition('; ')[2]}", file=sys.stderr, flush=True)
    os._exit(RunError.exit_status)  # at once: the main thread may wait for another rank; what is stored is whole


def follow(device: str) -> None:
    """Train what rank 0 hands out until it has no more."""
    team = _Team(device)
    try:
        while (job := team.hand_out(None)) is not None:
            team.perform(job)
            return_freed_memory()
    finally:
        team.leave()


class DistributedExecutor(InlineExecutor):
    """Rank 0's side. A cohort that raises on every rank alike is reported; a rank that dies ends the run."""

    def __init__(self, device: str) -> None:
        super().__init__(device)
        self._team = _Team(device)

    def close(self) -> None:
        super().close()
        if not self._team.broken:
            self._team.hand_out(None)
        self._team.leave()

    def _perform(self, job: Job, on_epoch: OnEpoch) -> Performed:
        self._team.hand_out(job)
        return self._team.perform(job, on_epoch)


class _Team:
    """This rank's place among the others."""

    def __init__(self, device: str) -> None:
        import torch.distributed as dist

        from batchscope.training import parallel

        ranks = parallel.launched()
        assert ranks is not None
        self.ranks, self.device = ranks, parallel.join(device)
        self._jobs_group = dist.new_group(backend="gloo")  # jobs travel as bytes, also where gradients go by nccl
        self.broken = False
        self._before = signal.signal(signal.SIGTERM, self._told_to_end)  # torchrun's word when another rank has died

    def hand_out(self, job: Job | None) -> Job | None:
        """Rank 0's job, on every rank."""
        import torch.distributed as dist

        passed_on = [job]
        try:
            dist.broadcast_object_list(passed_on, src=0, group=self._jobs_group)
        except RuntimeError as error:
            raise self._lost() from error
        return passed_on[0]

    def perform(self, job: Job, on_epoch: OnEpoch | None = None) -> Performed:
        """(results, "") or, when the cohort raised an error that all ranks share, (None, why)."""
        import torch.distributed as dist

        try:
            return tuple(train(job, self.device, on_epoch, ranks=self.ranks)), ""
        except BatchscopeError as error:
            return None, explain(error)
        except dist.DistError as error:
            raise self._lost() from error
        except RuntimeError as error:
            raise self._lost(explain(error)) from error

    def leave(self) -> None:
        """End this rank's part; the others are not waited for."""
        import torch.distributed as dist

        if not self.broken:
            signal.signal(signal.SIGTERM, self._before or signal.SIG_DFL)
        if not self.broken and dist.is_initialized():
            dist.destroy_process_group()

    def _told_to_end(self, *_: object) -> None:
        raise self._lost()

    def _lost(self, why: str = "") -> RunError:
        self.broken = True
        # This rank ends now and says why; torchrun's word, which may come late, shall not end it before.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        return RunError(f"{_LOST}{f' ({why})' if why else ''}")
