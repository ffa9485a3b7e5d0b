"""The data sets, one file each; importing this package registers them, in this order."""

from __future__ import annotations

from batchscope.data.sets import (  # noqa: F401
    cifar10,
    digits,
    emnist,
    fashion_mnist,
    gisette,
    gisette_like,
    grammar,
    mnist,
    synthetic,
)
