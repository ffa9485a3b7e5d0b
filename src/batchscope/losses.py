"""Per-example losses for what is often trained: one number per sequence, from logits per token.

Use them as the loss of `bs.measure` and in a training loop alike. Whether a sequence's tokens are added or averaged
changes what an example is worth: with "sum" long sequences count more, with "mean" every sequence counts the same.

    bs.measure(model, bs.losses.causal_lm, batches)
    bs.measure(model, functools.partial(bs.losses.causal_lm, per_sequence="mean"), batches)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from batchscope.errors import InputError, choose

__all__ = ["causal_lm", "logits_of", "token_cross_entropy"]

PER_SEQUENCE = ("sum", "mean")


def token_cross_entropy(
    outputs: Any,
    targets: Tensor,
    *,
    per_sequence: str = "sum",
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross-entropy of every sequence, [N], in nats.

    outputs: logits [N, ..., V], or an object that holds them (`logits_of`). targets: int64 [N, ...], one class for each
    position; positions equal to `ignore_index` do not count. per_sequence: "sum" or "mean" over the positions that
    count; a sequence in which none does has loss 0. InputError when the shapes do not fit.
    """
    choose("per_sequence", per_sequence, PER_SEQUENCE)
    logits = logits_of(outputs)
    if logits.shape[:-1] != targets.shape:
        raise InputError(
            f"logits {tuple(logits.shape)} and targets {tuple(targets.shape)}: expected logits [N, T, classes] and "
            "one target per token, [N, T]"
        )
    flat, labels = logits.reshape(-1, logits.shape[-1]), targets.reshape(-1).long()
    losses = F.cross_entropy(flat, labels, reduction="none", ignore_index=ignore_index, label_smoothing=label_smoothing)
    sums = losses.reshape(len(targets), -1).sum(1)
    if per_sequence == "sum":
        return sums
    return sums / (targets != ignore_index).reshape(len(targets), -1).sum(1).clamp(min=1)


def causal_lm(
    outputs: Any,
    labels: Tensor,
    *,
    per_sequence: str = "sum",
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Next-token cross-entropy of every sequence, [N]: the logits at t against the label at t + 1.

    outputs, labels: as for `token_cross_entropy`, labels [N, T] not shifted (usually the ids themselves, with
    `ignore_index` at the padding), as a causal language model of Hugging Face takes them.
    """
    logits = logits_of(outputs)
    return token_cross_entropy(
        logits[:, :-1],
        labels[:, 1:],
        per_sequence=per_sequence,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
    )


def logits_of(outputs: Any) -> Tensor:
    """The logits in a model's outputs: a tensor itself, `.logits` or ["logits"], or the first floating-point tensor
    with axes of a tuple. InputError when there is none."""
    if isinstance(outputs, Tensor):
        return outputs
    held = outputs.get("logits") if isinstance(outputs, Mapping) else getattr(outputs, "logits", None)
    if isinstance(held, Tensor):
        return held
    values = outputs.values() if isinstance(outputs, Mapping) else outputs if isinstance(outputs, tuple | list) else ()
    for value in values:
        if isinstance(value, Tensor) and value.ndim and value.is_floating_point():
            return value
    raise InputError(f"the model returned {type(outputs).__name__} without logits: expected a tensor or one inside")
