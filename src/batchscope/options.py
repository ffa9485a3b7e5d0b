"""The options of a study, each declared once. No torch.

`Study`, `Settings` or `Architecture`, and `Row` have their fields from here; from a declaration also come its
validation, its part in a trial's identity, the column of stores and exports, the text of `plan`, and the table of keys
in docs/studies.md. Rows that differ in an option are never compared as if they did not.

To add an option, two files:

1. here, a line in `TrainingOptions` (how a network is trained) or `ArchitectureOptions` (which network it is)::

       weight_decay: float = option(0.0, "coefficient of the decay", at_least=0, formerly=0.0, optimizers=("sgd",))

   formerly: what was done before there was a choice. Trials at that value keep the identity they had, and rows stored
   before are read with it; so give it to every new option, also where the default is another value.
2. the code that acts on it, which finds ``settings.weight_decay`` (or ``architecture.NAME``).

Then ``python -m batchscope.studies.keys docs/studies.md`` writes the table anew (a test says so when it is not).

The values of an option that is a name are listed where they are acted on, by ``offer("optimizer", OPTIMIZERS)``: to add
one, no declaration is touched.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from batchscope.option import option, options_of

# Traits of what is the user's own code, and of networks that draw their initial weights themselves.
OWN_INITIAL_WEIGHTS = "networks that draw their own"
OWN_NETWORKS, OWN_LOSSES, OWN_METRICS = "networks of your own", "a loss of your own", "a metric of your own"
# Counts and coefficients end far beyond what can be trained, so that every count of steps (of MOST_EXAMPLES, see
# studies/bounds.py) fits the 64 bits of the store, and every product stays finite in float32.
MOST_EPOCHS, MOST_PASSES, MOST_CHECKS = 10**6, 10**3, 10**4  # a check is a pass over the data and a line of the store
LARGEST_COEFFICIENT, MOST_FILTERS = 10**6, 10**6


@dataclass(frozen=True, kw_only=True)
class ArchitectureOptions:
    """Which network it is, besides family, depth and width."""

    __slots__ = ()

    activation: str = option("", "after every hidden layer", choices=None, by_family=True)
    bias: bool = option(True, "whether every layer adds one (as in Keras)", families=("fully-connected nets",))
    norm: str = option("", "normalisation", choices=None, formerly="", by_family=True)
    filters: int = option(
        0,
        "of the first chunk; 64 if left out",
        at_least=1,
        below=MOST_FILTERS,
        formerly=0,
        families=("nets with filters to choose",),
    )
    version: str = option(
        "",
        "a word of yours for what your network's code does not show; another word, another network",
        formerly="",
        families=(OWN_NETWORKS,),
    )
    source: str = option(
        "", "hash of your network's code, filled in; changed code is refused", formerly="", families=(OWN_NETWORKS,)
    )


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """How a network is trained, besides batch size, step size, seed and target."""

    __slots__ = ()

    max_epochs: int = option(
        100, "epochs before a run counts as censored", at_least=1, below=MOST_EPOCHS, compared=False
    )
    passes_per_epoch: int = option(
        1,
        "passes over the data that count as one epoch, for a sample that stands for a larger set",
        at_least=1,
        below=MOST_PASSES,
        formerly=1,
    )
    evaluations_per_epoch: int = option(1, "checks of the target in every epoch", at_least=1, below=MOST_CHECKS)
    optimizer: str = option("sgd", "update rule", choices=None)
    momentum: float = option(
        0.0,
        "momentum's coefficient; at 0 nesterov and lars take the published 0.9",
        at_least=0,
        below=1,
        optimizers=("sgd", "nesterov", "rmsprop", "lars"),
    )
    beta1: float = option(
        0.9, "memory of the mean gradient", at_least=0, below=1, formerly=0.9, optimizers=("adam", "adamw", "lamb")
    )
    beta2: float = option(
        0.999, "memory of the mean square", at_least=0, below=1, formerly=0.999, optimizers=("adam", "adamw", "lamb")
    )
    rho: float = option(
        0.0,
        "memory of the mean square; at 0 as published: rmsprop 0.9, adadelta 0.95",
        at_least=0,
        below=1,
        formerly=0.0,
        optimizers=("rmsprop", "adadelta"),
    )
    epsilon: float = option(
        0.0,
        "added to the denominator; at 0 as published: adam, adamw, rmsprop 1e-8, adagrad 1e-10, adadelta, lamb 1e-6",
        at_least=0,
        below=LARGEST_COEFFICIENT,
        formerly=0.0,
        optimizers=("adam", "adamw", "rmsprop", "adagrad", "adadelta", "lamb"),
    )
    trust: float = option(
        0.0,
        "LARS's trust coefficient; at 0 the published 0.001",
        at_least=0,
        below=LARGEST_COEFFICIENT,
        formerly=0.0,
        optimizers=("lars",),
    )
    weight_decay: float = option(
        0.0,
        "joins the gradient, but for adamw, lars and lamb, which apply it as published",
        at_least=0,
        below=LARGEST_COEFFICIENT,
        formerly=0.0,
    )
    schedule: str = option(
        "constant",
        "how the step size falls to 0 by the end of `schedule_epochs`, after the warm-up",
        choices=("constant", "linear", "cosine"),
        formerly="constant",
    )
    schedule_epochs: int = option(
        0, "epochs of the schedule; max_epochs at 0", at_least=0, below=MOST_EPOCHS, formerly=0
    )
    warmup_epochs: float = option(
        0.0,
        "epochs in which the step size rises from 0 (Goyal et al. 2017)",
        at_least=0,
        below=MOST_EPOCHS,
        formerly=0.0,
    )
    initialisation: str = option(
        "glorot_uniform",
        "distribution of the initial weights; as_made if left out for networks of your own and gpt",
        choices=None,
        families=(OWN_INITIAL_WEIGHTS,),
        limited=("as_made",),
    )
    sampling: str = option(
        "permutation", "every example once an epoch, or drawn anew (Eq. 3.1 of Chen et al. 2018)", choices=None
    )
    dtype: str = option(
        "float32",
        "bfloat16: autocast, with weights and updates in float32",
        choices=("float32", "float64", "bfloat16"),
        families=("families of images",),
        limited=("bfloat16",),
    )
    diversity_every: int = option(
        0, "epochs between measurements of gradient diversity; 0: never", at_least=0, below=MOST_EPOCHS
    )
    augmentation: str = option(
        "none",
        "of the images trained on; the target is checked on the images as they are",
        choices=("none", "pad_crop_flip"),
        formerly="none",
        families=("families of images",),
    )
    loss: str = option(
        "",
        "of each example, a function of (outputs, targets) that returns [N]; cross-entropy for classes and tokens, "
        "else half the square, if left out",
        own=True,
        formerly="",
    )
    loss_source: str = option("", "hash of its code, filled in", formerly="", families=(OWN_LOSSES,))
    metric: str = option(
        "",
        "of each example, a function of (outputs, targets) that returns [N], for the targets train_metric_at_least and "
        "train_metric_at_most",
        own=True,
        formerly="",
    )
    metric_source: str = option("", "hash of its code, filled in", formerly="", families=(OWN_METRICS,))
    batchnorm_shares: int = option(
        1,
        "equal parts of a batch over each of which BatchNorm takes its statistics",
        at_least=1,
        below=LARGEST_COEFFICIENT,
        formerly=1,
        families=("nets with BatchNorm",),
    )

    @property
    def is_scheduled(self) -> bool:
        """Whether the step size changes along the run."""
        return self.schedule != "constant" or self.warmup_epochs > 0


OPTIONS = MappingProxyType({**options_of(ArchitectureOptions), **options_of(TrainingOptions)})
