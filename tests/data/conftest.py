"""Tests stay inside tmp_path, except those of the real files."""

import pytest

from tests.data.tiny_files import write_idx_set


@pytest.fixture(autouse=True)
def nowhere_else(request, monkeypatch, tmp_path_factory):
    """Keep the tests' searches inside tmp_path, except for tests of the real files."""
    if request.node.get_closest_marker("real_data"):
        return
    empty = tmp_path_factory.mktemp("empty")
    monkeypatch.delenv("BATCHSCOPE_DATA", raising=False)
    monkeypatch.setattr("batchscope.data.locate._checkout", lambda: None)
    monkeypatch.setattr("batchscope.data.locate.user_cache", lambda: empty / "cache")
    monkeypatch.setattr("batchscope.data.locate.platformdirs.site_data_path", lambda *a, **k: empty / "system")


@pytest.fixture
def mnist_folder(tmp_path):
    """A data folder with a small MNIST, 53 + 17 images, in mnist/."""
    write_idx_set(tmp_path / "mnist", ("train", "t10k"), (53, 17), range(10))
    return tmp_path
