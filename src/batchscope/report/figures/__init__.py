"""Static figures (PNG and SVG) of one study; matplotlib is imported when one is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from batchscope.analysis import batch_threshold
from batchscope.analysis.digest import Digest, epoch_limits
from batchscope.analysis.findings import diversities
from batchscope.errors import StoreError
from batchscope.report.drawing import static as style
from batchscope.report.figures.diversity import diversity
from batchscope.report.figures.epochs import epochs_against_batch_size
from batchscope.report.figures.heat_map import heat_map
from batchscope.report.figures.largest_batch import largest_batch

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NUM_LIMITS = 3  # numbers of epochs E in the static figure; the page has a slider


def write(digest: Digest, directory: str | Path, prefix: str = "") -> list[Path]:
    """Draw every figure the rows allow into `directory` (created); return the paths written, PNG before SVG.

    prefix: put before each file's name, to keep the studies of one run directory apart. The diversity figure is drawn
    when gradient diversity was measured. Raises StoreError when the directory cannot be written.
    """
    folder = Path(directory)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with style.look():
            return [
                path for name, figure in _figures(digest).items() for path in style.save(figure, folder, prefix + name)
            ]
    except OSError as error:
        raise StoreError(f"{folder} cannot be written: {error.strerror or error}; choose another place") from None


def _figures(digest: Digest) -> dict[str, Figure]:
    limits = epoch_limits(digest.table, NUM_LIMITS + 2)
    limits = limits[1:-1] or limits  # between the fastest and the slowest, where shapes differ
    within = {limit: batch_threshold(digest.sweeps, f"within_epochs({limit:g})") for limit in limits}
    drawn = {
        "epochs": epochs_against_batch_size(digest.table, digest.about),
        "heat_map": heat_map(digest.table, digest.about),
        "largest_batch": largest_batch(within, digest.about),
    }
    if any(cell.batch_size_bound for cell in digest.table):
        drawn["diversity"] = diversity(digest.curves, diversities(digest.sweeps), digest.about)
    return drawn
