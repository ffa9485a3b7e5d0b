"""Hypothesis for every room: the same examples on each run, and no clock (a busy machine is not a failure)."""

from hypothesis import settings

settings.register_profile("batchscope", deadline=None, derandomize=True)
settings.load_profile("batchscope")
