"""For every room: Hypothesis tries the same examples on each run, and no clock (a busy machine is not a failure); what
a test draws from torch does not depend on the tests before it."""

import signal
import sys
from collections.abc import Iterator

import pytest
from hypothesis import settings

settings.register_profile("batchscope", deadline=None, derandomize=True)
settings.load_profile("batchscope")


@pytest.fixture(autouse=True)
def seeded_torch() -> None:
    """Seed torch, where a test needs it at all."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(autouse=True)
def no_modules_of_other_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A module that a test writes and imports is gone with the test: another may write one of the same name."""
    before = set(sys.modules)  # thousands, most of them torch's: only what is new is looked at
    yield
    written = str(tmp_path_factory.getbasetemp())
    for name in sys.modules.keys() - before:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(written):
            del sys.modules[name]


def pytest_configure() -> None:
    """Ctrl-C is tested in child processes, which would ignore it where this one was started to ignore it (`cmd &`)."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
