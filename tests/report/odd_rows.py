"""Rows of studies small and odd."""

from tests.report import factory

SMALL = factory.study(shapes=((1, 13), (3, 11)), batch_sizes=(8, 32, 128), num_seeds=3)

ODD = {
    "none": [],
    "one": [factory.row(batch_size_bound=None)],
    "only censored": [factory.censored(seed=seed) for seed in range(3)],
    "only diverged": [factory.diverged(seed=seed) for seed in range(3)],
    "only crashed": [factory.crashed(seed=seed) for seed in range(3)],
    "only tuning": [factory.row(phase="tune")],
}
