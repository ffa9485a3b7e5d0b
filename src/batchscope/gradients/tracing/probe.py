"""Probe: a few examples of the first batch, run a few times, tell what the measurement may rely on.

Whether a second run gives the same losses (dropout?), whether replacing one example changes another one's loss
(BatchNorm in training mode? a contrastive loss?), and the trace: where parameters are used and where examples are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from batchscope.errors import MeasurementError
from batchscope.gradients.rules import REWRITES
from batchscope.gradients.subject.batches import Batch
from batchscope.gradients.subject.failures import described, refuse_out_of_memory
from batchscope.gradients.subject.leaves import leaves_of
from batchscope.gradients.subject.subject import Subject
from batchscope.gradients.tracing.calls import Function, Interceptor, name_of
from batchscope.gradients.tracing.example_axis import REPLACED
from batchscope.gradients.tracing.trace import Trace, UntraceableError, build_trace

PROBED = 3  # examples: the fewest for which one can be replaced and the number changed with two left to compare


# Losses count as equal within this many roundings of their sum: threaded kernels add up in another order from run to
# run. In half precision fewer, as one is almost a percent there.
ROUNDINGS, LOW_ROUNDINGS = 2**10, 1


@dataclass(frozen=True)
class Probe:
    """losses: [m] of the probed examples. repeated: a second run. changed: with example 1 replaced. trace: None when
    the model could not be traced, for the reason in `untraceable`. tolerance: absolute, on losses that ought to agree.
    """

    losses: Tensor
    repeated: Tensor
    changed: Tensor
    trace: Trace | None
    untraceable: str
    tolerance: float

    @property
    def is_deterministic(self) -> bool:
        """Whether a second forward pass gave the same losses."""
        return torch.allclose(self.losses, self.repeated, rtol=0, atol=self.tolerance, equal_nan=True)

    def coupled_examples(self) -> list[int]:
        """Examples whose loss changed although another one was replaced."""
        moved = ((self.changed - self.losses).abs() > self.tolerance).nonzero().flatten().tolist()
        return [i for i in moved if i != REPLACED]


def probe(
    subject: Subject,
    batch: Batch,
    rewrites: Mapping[Function, Function] = REWRITES,
    order: Tensor | None = None,
) -> Probe:
    """Probe a prepared batch of at least two examples; the first three, or the first three of `order` (int64).

    rewrites: of whole layers into calls that have rules.
    """
    batch = batch if order is None else batch.take(order)
    large = batch.head(PROBED)
    changed = _replace_one(batch, large)
    state = torch.random.get_rng_state()

    def losses(examples: Batch) -> Tensor:
        torch.random.set_rng_state(state)
        return subject.losses(examples).detach()

    found = losses(large)
    repeated = subject.losses(large).detach()  # the random state goes on: dropout differs
    trace, untraceable = None, ""
    try:
        trace = _trace(subject, large, changed, state, rewrites)
    except Exception as error:  # whatever the model does under the recorder: slower ways are left
        refuse_out_of_memory(error)
        untraceable = str(error) if isinstance(error, UntraceableError) else described(error)
    return Probe(found, repeated, losses(changed), trace, untraceable, _tolerance(subject, found))


def readable(subject: Subject, batch: Batch) -> Batch | None:
    """The batch, its inputs taken in another way than by their first axes, if a few examples run so."""
    for other in batch.readings():
        try:
            with torch.no_grad():
                subject.losses(other.head(min(PROBED, batch.num_examples - 1)))
        except Exception as error:
            refuse_out_of_memory(error)
        else:
            return other
    return None


def _trace(
    subject: Subject, large: Batch, changed: Batch, state: Tensor, rewrites: Mapping[Function, Function]
) -> Trace:
    small = large.head(large.num_examples - 1)

    def run(examples: Batch) -> Callable[[Interceptor], None]:
        def forward(mode: Interceptor) -> None:
            torch.random.set_rng_state(state)
            subject.losses(examples, mode)

        return forward

    rewrites = {**rewrites, **subject.meaning}
    counts = large.num_examples, small.num_examples
    return build_trace(subject.parameters, rewrites, run(large), run(small), run(changed), *counts)


def orders(batch: Batch) -> Iterator[Tensor]:
    """Which examples to probe, one choice after another, until the calls are those of the whole batch: the first ones,
    then those with most and least in each integer input (models leave out a mask that masks nothing)."""
    n = batch.num_examples
    yield torch.arange(n)
    if n <= PROBED:
        return
    for leaf in leaves_of(batch.inputs):
        if isinstance(leaf, Tensor) and leaf.ndim > 1 and leaf.shape[0] == n and not leaf.is_floating_point():
            ascending = leaf.reshape(n, -1).double().sum(1).argsort().cpu()
            yield torch.stack([ascending[0], ascending[-1], ascending[n // 2]])
            yield torch.stack([ascending[-1], ascending[0], ascending[n // 2]])


def _tolerance(subject: Subject, losses: Tensor) -> float:
    """How far losses [m] may be apart that would be equal without rounding."""
    dtypes = {losses.dtype, *(p.dtype for p in subject.parameters.values())}
    if torch.is_autocast_enabled(losses.device.type):
        dtypes.add(torch.get_autocast_dtype(losses.device.type))
    scale = float(losses[losses.isfinite()].abs().sum())
    return scale * max(
        (LOW_ROUNDINGS if dtype.itemsize < 4 else ROUNDINGS) * torch.finfo(dtype).eps for dtype in dtypes
    )


def _replace_one(batch: Batch, large: Batch) -> Batch:
    """`large` with example 1 replaced by one of the batch that differs from it, or, when all are equal, disturbed."""
    one = batch.take(torch.tensor([REPLACED]))
    for k in (2, 0, *range(3, min(batch.num_examples, 32))):
        if k < batch.num_examples and not _equal(one.inputs, batch.take(torch.tensor([k])).inputs):
            index = torch.arange(large.num_examples)
            index[REPLACED] = k
            return batch.take(index)
    return large.map_inputs(_disturb)


def _equal(left: Any, right: Any) -> bool:
    pairs = zip(leaves_of(left), leaves_of(right), strict=True)
    return all(torch.equal(a, b) if isinstance(a, Tensor) else True for a, b in pairs)


def _disturb(leaf: Any) -> Any:
    if not isinstance(leaf, Tensor) or not leaf.is_floating_point() or not leaf.ndim:
        return leaf
    leaf = leaf.clone()
    leaf[REPLACED] = leaf[REPLACED] * 1.5 + 0.5
    return leaf


def coupling_error(subject: Subject, batch: Batch) -> MeasurementError:
    """The error for coupled examples; runs the model once more to name the first module in which it happens."""
    large = batch.head(PROBED)
    before, after = (_outputs(subject, examples) for examples in (large, _replace_one(batch, large)))
    keep = [i for i in range(large.num_examples) if i != REPLACED]
    where = "the loss function"
    for name, value in before.items():
        if name in after and not torch.allclose(value[keep], after[name][keep], rtol=1e-4, atol=1e-7):
            where = f"module {name!r} ({type(subject.model.get_submodule(name)).__name__})"
            break
    return MeasurementError(
        f"the loss of an example changes when another example of its batch is replaced, so one example's gradient is "
        f"not defined: the examples are coupled in {where}. Expected a per-example loss; put what couples them (batch "
        "statistics, in-batch negatives) in eval mode or hold it constant, or measure batches of one"
    )


class _RandomCalls(Interceptor):
    """Writes down the names of calls that draw random numbers, as far as torch shows them."""

    def __init__(self, subject: Subject) -> None:
        super().__init__(subject.meaning)
        self.names: list[str] = []

    def see(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        before = torch.random.get_rng_state()
        output = func(*args, **kwargs)
        if not torch.equal(before, torch.random.get_rng_state()):
            self.names.append(name_of(func))
        return output


def random_calls(subject: Subject, batch: Batch) -> list[str]:
    """Names of the functions by which the model or the loss draws random numbers, each once; from one more run."""
    mode = _RandomCalls(subject)
    with torch.no_grad():
        subject.losses(batch.head(PROBED), mode)
    return list(dict.fromkeys(mode.names))


def _outputs(subject: Subject, batch: Batch) -> dict[str, Tensor]:
    """Module name -> its output [N, ...], innermost modules first, in the order of the forward pass."""
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.ndim and output.shape[0] == batch.num_examples:
                outputs.setdefault(name, output.detach())

        return hook

    hooks = [module.register_forward_hook(keep(name)) for name, module in subject.model.named_modules()]
    try:
        with torch.no_grad(), Interceptor(subject.meaning):
            subject.outputs(batch)
    finally:
        for hook in hooks:
            hook.remove()
    return outputs
