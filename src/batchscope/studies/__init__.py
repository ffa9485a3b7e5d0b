"""Studies: what shall be trained (files, plans, protocols, costs), and the results of a run directory. No torch."""

from __future__ import annotations

from batchscope.records.export import export
from batchscope.studies.key_types import StepSizes
from batchscope.studies.results import Results, read
from batchscope.studies.study import Study, read_studies

__all__ = ["Results", "StepSizes", "Study", "export", "read", "read_studies"]
