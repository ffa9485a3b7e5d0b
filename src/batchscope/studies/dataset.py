"""The data of a study: what is asked for, what planning must know of it, and loading it. No torch."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from batchscope.data import Dataset, load
from batchscope.option import canonical
from batchscope.studies.key_types import DataOption
from batchscope.studies.study import INPUTS, Study


@dataclass(frozen=True)
class DataFacts:
    """What planning must know of a data set.

    fingerprint: identifies the raw data. num_examples: training examples used. input_shape: of one example.
    d_out: outputs of a network for it. num_classes: None for regression. seed: chose the subset, or drew the data.
    num_heldout: examples held out. is_tokens: whether examples are token numbers. positions: (T,) where every one of T
    tokens has a target, () where an example has one.
    """

    fingerprint: str
    num_examples: int
    input_shape: tuple[int, ...]
    d_out: int
    num_classes: int | None
    seed: int = 0
    num_heldout: int = 0
    is_tokens: bool = False
    positions: tuple[int, ...] = ()

    @functools.cached_property
    def identity(self) -> str:
        """Its part in the identities of trials, as canonical JSON."""
        return canonical([self.fingerprint, self.num_examples, self.seed])


class DatasetLike(Protocol):
    """The attributes of `batchscope.data.Dataset` that planning reads."""

    @property
    def fingerprint(self) -> str:
        """16 hex digits that change with the data."""

    @property
    def num_examples(self) -> int:
        """n."""

    @property
    def num_classes(self) -> int | None:
        """Classes, or None for regression."""

    @property
    def d_out(self) -> int:
        """Outputs that a network needs."""

    @property
    def inputs(self) -> object:
        """[n, *shape of an example]."""

    @property
    def num_heldout(self) -> int:
        """Examples held out."""

    @property
    def is_tokens(self) -> bool:
        """Whether inputs are the numbers of tokens."""

    @property
    def positions(self) -> tuple[int, ...]:
        """(T,) where every token has a target, else ()."""


def facts(dataset: DatasetLike, seed: int) -> DataFacts:
    """Return what planning must know of a loaded data set."""
    shape = tuple(int(size) for size in dataset.inputs.shape[1:])  # type: ignore[attr-defined]
    return DataFacts(
        dataset.fingerprint,
        dataset.num_examples,
        shape,
        dataset.d_out,
        dataset.num_classes,
        seed,
        dataset.num_heldout,
        dataset.is_tokens,
        dataset.positions,
    )


@dataclass(frozen=True)
class DataRequest:
    """The arguments of `batchscope.data.load`, hashable and small enough to send to a worker."""

    name: str
    data_dir: str | None
    num_examples: int | None
    seed: int
    options: tuple[tuple[str, DataOption], ...]

    @classmethod
    def of(cls, study: Study, data_dir: str | Path | None = None) -> DataRequest:
        """The request of a study, looked for in `data_dir` first."""
        scheme = INPUTS[study.inputs]
        given = study.dataset_options | ({} if scheme is None else {"standardise": scheme})
        options = tuple(sorted(given.items()))
        return cls(study.dataset, None if data_dir is None else str(data_dir), study.num_examples, study.seed, options)


@functools.lru_cache(maxsize=2)
def load_data(request: DataRequest) -> Dataset:
    """Load a data set, or return the one in memory; two are kept, as in a run of two studies."""
    return load(
        request.name,
        data_dir=request.data_dir,
        num_examples=request.num_examples,
        seed=request.seed,
        **dict[str, Any](request.options),
    )
