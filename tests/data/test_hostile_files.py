"""Data files that are damaged, or made to hurt: refused by name, before memory is taken, and nothing in them runs."""

from __future__ import annotations

import gzip
import tracemalloc

import numpy as np
import pytest

from batchscope.data import load
from batchscope.data.readers import compressed
from batchscope.errors import DataError
from tests.data.hostile_files import HOSTILE, INPUTS, TARGETS, member, with_inputs


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_npz_is_refused_by_name_and_takes_no_memory(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    make, message = HOSTILE[name]
    make(tmp_path / "mine.npz")
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=message) as caught:
            load(tmp_path / "mine.npz")
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()
    assert len(str(caught.value)) < 1000
    assert not (tmp_path / "executed").exists()


def test_arrays_beyond_the_limit_are_refused_before_they_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr("batchscope.data.readers.npz.LIMIT", 300)
    with pytest.raises(DataError, match=r"its arrays take 0\.0 GiB; expected at most"):
        load(with_inputs(tmp_path / "mine.npz", member(INPUTS)))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
def test_what_numpy_writes_is_read_as_it_was(tmp_path, save, order):
    save(tmp_path / "mine.npz", inputs=np.asarray(INPUTS, order=order), targets=TARGETS)
    found = load(tmp_path / "mine.npz", standardise="raw")
    np.testing.assert_array_equal(found.inputs, INPUTS.astype(np.float32))
    np.testing.assert_array_equal(found.targets, TARGETS)


def test_a_compressed_file_that_unpacks_to_any_size_is_read_up_to_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(compressed, "LIMIT", 3 << 20)
    (tmp_path / "file.gz").write_bytes(gzip.compress(bytes(50 << 20)))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="more than 3 MiB once decompressed"):
            compressed.read_bytes(tmp_path / "file.gz")
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
    finally:
        tracemalloc.stop()
