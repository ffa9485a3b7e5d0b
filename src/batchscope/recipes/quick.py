"""The quickstart: the paper's question on data that needs no download, in about a minute."""

from __future__ import annotations

from batchscope.studies import StepSizes, Study


def quickstart() -> tuple[Study, Study]:
    """Return two small studies, wide to deep at equal parameters: real digits, and the paper's synthetic regression.

    Five batch sizes, five seeds, step sizes tuned for each cell on epochs to the target, gradient diversity measured
    along training. About a minute on two cores.
    Everything in it is ours, chosen to be small: neither data set size, budget nor target is the paper's.
    """
    digits = Study(
        name="quickstart-digits",
        dataset="digits",
        budget=4000,
        depths=(1, 2, 4, 8),
        batch_sizes=(16, 64, 256, 512, 1024),
        target={"train_accuracy": 0.96},
        max_epochs=80,
        protocol="tuned",
        diversity_every=2,
        step_sizes=StepSizes(min=0.05, max=1.6, ratio=2.0),
        scaled="a small study on 1437 digits of 8 x 8 pixels; not one of the paper's",
    )
    synthetic = Study(
        name="quickstart-synthetic",
        dataset="synthetic",
        num_examples=2048,
        dataset_options={"d_in": 50},
        family="linear",
        budget=2000,
        depths=(1, 2, 4, 8),
        batch_sizes=(16, 64, 256, 512, 1024),
        target={"train_loss": 1e-5},
        max_epochs=100,
        evaluations_per_epoch=4,
        protocol="tuned",
        diversity_every=2,
        step_sizes=StepSizes(min=0.01, max=0.64, ratio=2.0),
        scaled="a small study on 2048 generated examples; the paper's has 10 000 and a target loss of 1e-12",
    )
    return digits, synthetic
