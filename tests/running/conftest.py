"""Running is tested on the studies of tests/studies, with the same fake trainer."""

from tests.studies.conftest import batchscope_command, data, fake, patched_workers, study

__all__ = ["batchscope_command", "data", "fake", "patched_workers", "study"]
