"""The paper's question asked of the networks people train now: transformers, wide or deep at equal parameters."""

from __future__ import annotations

from batchscope.studies import StepSizes, Study


def gpt_width_depth() -> Study:
    """Return decoder-only transformers of 1, 2, 4 and 8 blocks at equal parameters, on generated sentences.

    An example is a sequence of 64 characters, its loss the mean over them in nats, so gradient diversity is that of
    sequences, exact over all of them. Adam, its step size tuned in every cell on epochs to the target, as for networks
    of this kind. The target lies between what letter frequencies give (2.8 nats) and the entropy of the text (0.45).
    """
    return Study(
        name="gpt-width-depth",
        dataset="grammar",
        num_examples=512,
        dataset_options={"num_heldout": 128},
        family="gpt",
        budget=12_000,
        depths=(1, 2, 4, 8),
        batch_sizes=(4, 8, 16, 32, 64, 128, 256),
        target={"train_loss": 1.9},
        max_epochs=40,
        evaluations_per_epoch=2,
        num_seeds=3,
        protocol="tuned",
        optimizer="adam",
        step_sizes=StepSizes(min=0.004, max=0.032, ratio=2.0),
        diversity_every=4,
        scaled="transformers of 12 000 parameters on 512 sequences of 64 characters: small enough for two cores",
        assumptions=(
            "generated sentences in place of a corpus: no file, no licence, and an entropy that is known",
            "training loss of 1.9 nats per character as the target, reached within a few hundred steps",
        ),
    )
