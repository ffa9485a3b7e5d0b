"""Data sets: readers, fetching with checksums, generated sets, and the order in which examples are seen. No torch."""

from batchscope.data.check import CheckReport, FileCheck, check
from batchscope.data.dataset import Dataset, Standardisation
from batchscope.data.fetch import fetch
from batchscope.data.load import load
from batchscope.data.memory import from_arrays
from batchscope.data.order import SAMPLINGS, epoch_order
from batchscope.data.registry import names

__all__ = [
    "SAMPLINGS",
    "CheckReport",
    "Dataset",
    "FileCheck",
    "Standardisation",
    "check",
    "epoch_order",
    "fetch",
    "from_arrays",
    "load",
    "names",
]
