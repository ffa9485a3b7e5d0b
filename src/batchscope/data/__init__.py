"""Data sets: readers, fetching with checksums, generated sets, and the order in which examples are seen. No torch."""

from batchscope.data.dataset import Dataset, Standardisation
from batchscope.data.load import NAMES, load
from batchscope.data.order import SAMPLINGS, epoch_order

__all__ = ["NAMES", "SAMPLINGS", "Dataset", "Standardisation", "epoch_order", "load"]
