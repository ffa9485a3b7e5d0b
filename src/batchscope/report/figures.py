"""Static figures (PNG and SVG) of one study: every chart of the page; matplotlib is imported when one is drawn."""

from __future__ import annotations

from pathlib import Path

from batchscope.analysis.digest import Digest
from batchscope.errors import StoreError
from batchscope.report.charts import charts
from batchscope.report.drawing import static


def write(digest: Digest, directory: str | Path, prefix: str = "") -> list[Path]:
    """Draw every chart that the rows allow into `directory` (created); return the paths written, PNG before SVG.

    prefix: put before each file's name, to keep the studies of one run directory apart. Without a final run there are
    no charts. Raises StoreError when the directory cannot be written.
    """
    folder = Path(directory)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{folder} cannot be written: {error.strerror or error}; choose another place") from None
    found = charts(digest).items()
    subtitle = digest.about.subtitle
    return [path for name, chart in found for path in static.write_both(chart, folder / (prefix + name), subtitle)]
