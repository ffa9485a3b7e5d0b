"""`digits`: the 8 x 8 handwritten digits embedded in scikit-learn."""

from __future__ import annotations

import numpy as np

from batchscope.data.dataset import RawData
from batchscope.data.registry import generated
from batchscope.data.seeding import Stream, generator

DIGITS_TRAINING, DIGITS_HELDOUT = 1437, 360  # 80 % and 20 % of the 1797 images


@generated(
    "digits",
    "8 x 8 handwritten digits embedded in scikit-learn (1437 + 360 held out, 10 classes)",
    sized=False,
)
def digits(*, seed: int = 0) -> RawData:
    """Return the 8 x 8 handwritten digits embedded in scikit-learn: 1437 training, 360 held out, split by `seed`.

    Pixels are whole numbers 0..16. E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI
    Machine Learning Repository (1998), doi:10.24432/C50P49; scikit-learn holds its test part.
    """
    from sklearn.datasets import load_digits  # imported on use: about a second

    bunch = load_digits()
    order = generator(seed, Stream.SPLIT).permutation(DIGITS_TRAINING + DIGITS_HELDOUT)
    images, labels = bunch.images[order, None].astype(np.uint8), bunch.target[order]
    return RawData(
        name="digits",
        title="Digits (8 x 8)",
        inputs=images[:DIGITS_TRAINING],
        targets=labels[:DIGITS_TRAINING],
        heldout_inputs=images[DIGITS_TRAINING:],
        heldout_targets=labels[DIGITS_TRAINING:],
        num_classes=10,
        source="E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits (1998), doi:10.24432/C50P49; "
        f"embedded in scikit-learn. Held-out split drawn with seed {seed}.",
        scheme="per_channel",
        unit=16.0,
    )
