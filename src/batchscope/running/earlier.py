"""What earlier runs left in a store, by columns: a study of 10^5 finished trials is resumed without a row for each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from batchscope.records.row import Outcome, Row
from batchscope.records.rows import Rows
from batchscope.studies.plan import PlannedCell, is_widening
from batchscope.studies.protocols import Ending
from batchscope.studies.study import Studies, Study
from batchscope.studies.trial import FINAL, TUNE

_CELL = ("study", "depth", "width", "batch_size")


@dataclass(frozen=True)
class CellCount:
    """Finished trials of a cell: reported, tuned on the study's own grid, and tuned beyond it."""

    final: int
    tuned: int
    widened: int

    @property
    def trials(self) -> int:
        """All of them."""
        return self.final + self.tuned + self.widened

    def of(self, phase: str) -> int:
        """Those that the plan counts, without widenings."""
        return self.final if phase == FINAL else self.tuned


class EarlierRuns:
    """The finished trials of some studies. Crashed ones are left out, so that they are tried again."""

    def __init__(self, rows: Iterable[Row], studies: Studies) -> None:
        names = tuple(study.name for study in studies)
        known = Rows.of(rows).where(study=names)
        self._rows = known.pick(known.column("outcome") != Outcome.CRASHED)
        self._names, self._counts = names, _counts(self._rows, studies)

    def endings(self) -> dict[str, dict[str, Row | Ending]]:
        """Study -> trial id -> how it ended."""
        done: dict[str, dict[str, Row | Ending]] = {name: {} for name in self._names}
        for name, rows in self._rows.group_by("study").items():
            ended = map(Ending, *(rows.entries(field) for field in Ending._fields))
            done[name[0]].update(zip(rows.entries("trial_id"), ended, strict=True))
        return done

    def count(self, study: Study, cell: PlannedCell) -> CellCount:
        """How many trials of a cell are finished."""
        net = cell.architecture
        found = [self._counts[study.name, net.depth, net.width, cell.batch_size, kind] for kind in _KINDS]
        return CellCount(*found)

    def best(self) -> Row | None:
        """The reported run with the fewest epochs to the target, or None."""
        epochs = np.where(self._rows.column("phase") == FINAL, self._rows.column("epochs_to_target"), np.nan)
        return None if np.isnan(epochs).all() else self._rows[int(np.nanargmin(epochs))]


_WIDENED = "widened"
_KINDS = (FINAL, TUNE, _WIDENED)


def _counts(rows: Rows, studies: Studies) -> Mapping[tuple[str, int, int, int, str], int]:
    """(study, depth, width, batch size, "final", "tune" or "widened") -> trials."""
    by_name = {study.name: study for study in studies}
    runs = list(zip(*(rows.entries(name) for name in ("study", "phase", "step_size")), strict=True))
    kind = {
        (name, phase, step_size): _WIDENED if is_widening(by_name[name], phase, step_size) else phase
        for name, phase, step_size in set(runs)
    }
    cells = zip(*(rows.entries(name) for name in _CELL), strict=True)
    return Counter((*cell, kind[run]) for cell, run in zip(cells, runs, strict=True))
