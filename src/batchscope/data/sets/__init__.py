"""The data sets, one file each; importing this package registers them, in this order."""

from __future__ import annotations

from batchscope.data.sets import cifar10, digits, emnist, fashion_mnist, gisette, gisette_like, mnist, synthetic  # noqa: F401
