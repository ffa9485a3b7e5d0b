"""`Execution`: how the members of a cohort are run, as a record. No torch."""

from __future__ import annotations

from dataclasses import dataclass, replace

from batchscope.errors import InputError, choose

STACKED = "stacked"
ONE_AFTER_ANOTHER, STREAMS, VECTORISED = "one after another", "in streams", "vectorised"
KINDS = (STACKED, ONE_AFTER_ANOTHER, STREAMS, VECTORISED)


@dataclass(frozen=True)
class Execution:
    """How the members of a cohort are run; the ways differ in rounding only.

    kind: "stacked" (all fully-connected members as stacked tensors, without autograd), "one after another", "in
        streams" (each on a CUDA stream of its own) or "vectorised" (all in one call, by torch.func.vmap).
    channels_last: the memory format of images. replayed: whether steps are replayed from a CUDA graph.
    ranks: processes that share every batch.

    >>> print(Execution("one after another", channels_last=True, ranks=2))
    one after another, channels_last, on 2 ranks
    """

    kind: str
    channels_last: bool = False
    replayed: bool = False
    ranks: int = 1

    def __post_init__(self) -> None:
        choose("execution", self.kind, KINDS)

    @classmethod
    def parse(cls, text: str) -> Execution:
        """Read what ``str`` of an execution gives, as rows keep it."""
        kind, *forms = text.split(", ")
        execution = cls(kind)
        for form in forms:
            if form == "channels_last":
                execution = replace(execution, channels_last=True)
            elif form == "replayed":
                execution = replace(execution, replayed=True)
            elif form.startswith("on ") and form.endswith(" ranks"):
                execution = replace(execution, ranks=int(form.split()[1]))
            else:
                raise InputError(f"execution {text!r}: unknown {form!r}; expected channels_last, replayed, on N ranks")
        return execution

    def __str__(self) -> str:
        forms = [name for name in ("channels_last", "replayed") if getattr(self, name)]
        shared = [f"on {self.ranks} ranks"] if self.ranks > 1 else []
        return ", ".join((self.kind, *forms, *shared))
