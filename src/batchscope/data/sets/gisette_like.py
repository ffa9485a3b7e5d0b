"""`gisette_like`: a generated stand-in with Gisette's make-up, for when the real set is not at hand."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from batchscope.data.dataset import RawData
from batchscope.data.readers.gisette import NUM_FEATURES
from batchscope.data.registry import check_generated, generated
from batchscope.data.seeding import Stream, generator
from batchscope.errors import InputError

NUM_INFORMATIVE = 2500  # the rest tell nothing of the class, as Gisette's 2500 "probes"
NON_ZERO = 0.132  # fraction of entries, measured on 168 real rows
QUARTILES = (252, 666, 885, 983, 999)  # smallest value, quartiles and largest of the entries not 0, same rows

# Assumptions, chosen so that 168 generated rows look like the 168 real ones: spread of the features' rates (real
# quartiles 0.01, 0.08, 0.21), of the rows' rates (0.031), share of the first principal component (6 %), and a ridge
# classifier's cross-validated accuracy on 168 rows (0.88 real).
_FEATURE_SPREAD, _CLASS_SPREAD, _STYLE_SPREAD, _ROW_SPREAD, _NUM_STYLES = 1.3, 0.18, 1.2, 0.2, 16


@generated("gisette_like", "generated: made up like Gisette (6000 + 1000 held out, 5000 features, 2 classes)")
def gisette_like(*, seed: int = 0, num_examples: int = 6_000, num_heldout: int = 1_000) -> RawData:
    """Return a generated set made up like Gisette: 5000 features, 13.2 % not 0, whole numbers 0..999, two classes.

    Entry (i, j) is not 0 where a_j + c_i b_j + z_i . w_j + r_i + e_ij exceeds one threshold for the whole set: a_j the
    feature's rate, c_i = +-1 the class (balanced), b_j its effect (0 for half of the features), z_i 16 hidden styles
    of a row, r_i its ink, e_ij noise, all normal. Its value is then drawn from the quartiles of the real data. The
    features' effects depend on `seed` alone, so a smaller set is another draw of the same problem.
    """
    if num_examples < 2 or num_heldout < 2:
        raise InputError(f"gisette_like: {num_examples} + {num_heldout} examples; expected at least 2 of each")
    check_generated("gisette_like", (num_examples + num_heldout) * NUM_FEATURES)
    threshold = _threshold(seed)
    inputs, labels = _rows(seed, 1, num_examples, threshold)
    heldout_inputs, heldout_labels = _rows(seed, 2, num_heldout, threshold)
    return RawData(
        name="gisette_like",
        title="Gisette-like (generated)",
        inputs=inputs,
        targets=labels,
        heldout_inputs=heldout_inputs,
        heldout_targets=heldout_labels,
        num_classes=2,
        source=f"Generated, seed {seed}: not Gisette, but made up like it (5000 features, 13.2 % not 0, whole numbers "
        "0..999, two classes). After I. Guyon et al., doi:10.24432/C5HP5B.",
        scheme="global",
    )


def _features(seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return each feature's rate [d], effect of the class [d] and of the styles [styles, d]."""
    draw = generator(seed, Stream.GISETTE_LIKE, 0)
    rates = _FEATURE_SPREAD * draw.standard_normal(NUM_FEATURES, dtype=np.float32)
    effects = _CLASS_SPREAD * draw.standard_normal(NUM_FEATURES, dtype=np.float32)
    effects[draw.permutation(NUM_FEATURES)[NUM_INFORMATIVE:]] = 0.0
    strengths = 1.0 / np.sqrt(1.0 + np.arange(_NUM_STYLES))
    strengths *= _STYLE_SPREAD / np.linalg.norm(strengths)
    styles = draw.standard_normal((_NUM_STYLES, NUM_FEATURES), dtype=np.float32) * strengths[:, None].astype(np.float32)
    return rates, effects, styles


def _scores(
    draw: np.random.Generator, labels: NDArray[np.int64], features: tuple[NDArray[np.float32], ...]
) -> NDArray[np.float32]:
    rates, effects, styles = features
    n = len(labels)
    scores = draw.standard_normal((n, NUM_FEATURES), dtype=np.float32)
    scores += draw.standard_normal((n, _NUM_STYLES), dtype=np.float32) @ styles
    scores += rates + np.float32(_ROW_SPREAD) * draw.standard_normal((n, 1), dtype=np.float32)
    scores += (2 * labels[:, None] - 1).astype(np.float32) * effects
    return scores


def _threshold(seed: int) -> float:
    """Return the score exceeded by 13.2 % of entries, from 500 rows drawn for this alone."""
    labels = np.arange(500) % 2
    scores = _scores(generator(seed, Stream.GISETTE_LIKE, 3), labels, _features(seed))
    return float(np.quantile(scores, 1 - NON_ZERO))


def _rows(seed: int, part: int, n: int, threshold: float) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
    draw = generator(seed, Stream.GISETTE_LIKE, part)
    labels = draw.permutation(n) % 2
    inked = _scores(draw, labels, _features(seed)) > threshold
    values = np.zeros((n, NUM_FEATURES), dtype=np.int16)
    values[inked] = np.interp(draw.random(int(inked.sum())), (0, 0.25, 0.5, 0.75, 1), QUARTILES).astype(np.int16)
    return values, labels
