"""One batch in, per parameter the squared norm of every example's gradient and the summed gradient out.

A ladder, fastest first; whatever goes wrong on one rung, the next one is taken and the report says so:

1. the trace and its rules, with `vmap` of a call that has none (`capture`);
2. a loop over examples: for parameters that escaped the trace, or for all;
3. where that fails for some of the parameters, NaN, which makes every total that needs them NaN; and where nothing
   could be measured, an error with the cause.

A trace is believed for the shapes of examples it was audited on. Batches of the same shapes are compared with it call
by call; batches of other shapes are audited anew, as are a few later batches chosen at random.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from batchscope.errors import BatchscopeError, InputError, MeasurementError, RunError
from batchscope.gradients.backward.audit import audit_examples, audit_sums, examples_of
from batchscope.gradients.backward.capture import Capture, TraceMismatchError, backward
from batchscope.gradients.backward.collect import UNAVAILABLE, Collector, Measured, Result
from batchscope.gradients.backward.loop import Gradients, LoopCost, add_up, timed
from batchscope.gradients.backward.planner import Planner
from batchscope.gradients.rules import REWRITES
from batchscope.gradients.subject.batches import Batch
from batchscope.gradients.subject.failures import described, model_error, refuse_out_of_memory
from batchscope.gradients.subject.leaves import leaves_of
from batchscope.gradients.subject.subject import Subject
from batchscope.gradients.tracing.probe import orders, probe
from batchscope.gradients.tracing.trace import Sizes, Trace, UntraceableError

Results = dict[str, Result]

PATIENCE = 3  # batches on which the fast way failed before it is given up
MOST_TRACES = 8  # kept: of models whose calls depend on the data, the last ones
LATER = 2  # examples of a later batch that are audited


class UnauditedError(MeasurementError):
    """A later batch's audit failed and batches before it were measured in the same way, unaudited."""


@dataclass(eq=False)
class Measurer:
    """Measures batches of a subject.

    audited: whether to audit. costs: of going through examples one at a time, once that was done (one entry).
    expected: examples still to come, as far as they are known. reason: why the fast way failed
    last. given_up: why it is not tried any more.
    """

    subject: Subject
    planner: Planner = field(default_factory=Planner)
    audited: bool = True
    costs: list[LoopCost] = field(default_factory=list)
    expected: int = 0
    given_up: str = ""
    reason: str = ""
    traces: list[Trace] = field(default_factory=list)
    _stand_ins: dict[str, Tensor] = field(default_factory=dict)
    _failures: int = 0
    _batches: int = 0
    _has_unaudited: bool = False
    _random: random.Random = field(default_factory=lambda: random.Random(0))  # never the user's
    _next_audit: int = 1

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """Name -> parameter, of those that are measured."""
        return self.subject.parameters

    def measure(self, batch: Batch) -> Results:
        """Every parameter's Result on a prepared batch of at least one example."""
        number, self._batches = self._batches, self._batches + 1
        if batch.num_examples == 1:
            return self._loop(batch, "one example: plain backward pass")
        if not self.given_up:
            try:
                results = self._fast(batch, number)
            except (InputError, RunError):  # no slower way helps
                raise
            except BatchscopeError as error:  # a later audit that failed is not to be passed over
                if isinstance(error, UnauditedError):
                    raise
                self._fail(str(error))
            except Exception as error:
                refuse_out_of_memory(error)
                self._fail(str(error) if isinstance(error, UntraceableError) else described(error))
            else:
                self._failures = 0
                return results
        return self._slow(batch)

    def is_first(self) -> bool:
        """Whether this is the first batch; counts it."""
        self._batches += 1
        return self._batches == 1

    def give_up(self, reason: str) -> None:
        """Measure every batch one example at a time."""
        self.given_up = self.reason = reason
        self.subject.say(f"measured one example at a time, because: {reason}")

    def _fail(self, reason: str) -> None:
        self._failures += 1
        self.reason = reason
        self.subject.say(f"measured one example at a time, at least in part, because: {reason}")
        if self._failures >= PATIENCE:
            self.given_up = reason

    def _fast(self, batch: Batch, number: int) -> Results:
        """By the traces there are, or by a new one; audited where a trace meets new shapes."""
        signature = batch.signature
        wrong: MeasurementError | None = None
        mismatch: TraceMismatchError | None = None
        for trace in self._traces(batch, signature):
            is_known = signature in trace.sizes
            try:
                results, mode = self._capture(batch, trace, trace.sizes.get(signature))
            except TraceMismatchError as error:
                mismatch = mismatch or error
                continue
            examples = self._to_audit(batch, number, is_known)
            wrong = self._audit(batch, results, examples, number)
            if wrong is None:
                trace.sizes.setdefault(signature, mode.sizes)
                self.traces = [trace, *(other for other in self.traces if other is not trace)][:MOST_TRACES]
                self._has_unaudited |= not examples
                return results
            if is_known and self._has_unaudited:
                raise UnauditedError(f"batch {number}: {wrong}; batches before it were measured so without an audit")
        if wrong is not None:
            self.given_up = str(wrong)  # what the traces promise does not hold for this model
            raise wrong
        raise UntraceableError(f"the calls depend on the number or the values of examples ({mismatch})")

    def _audit(self, batch: Batch, results: Results, examples: list[int], number: int) -> MeasurementError | None:
        wrong = None
        try:
            wrong = audit_examples(self.subject, batch, results, examples) if examples else None
        except Exception as error:
            refuse_out_of_memory(error)
            self.subject.say(f"not audited on single examples, on which the model does not run: {described(error)}")
        if wrong is None and number == 0 and examples:
            wrong = audit_sums(self.subject, batch, results)
        return wrong

    def _traces(self, batch: Batch, signature: object) -> Iterator[Trace]:
        """Traces to try: of the same shapes first, then others, then new ones from several choices of examples."""
        known = [trace for trace in self.traces if signature in trace.sizes]
        yield from known
        yield from (trace for trace in self.traces if trace not in known)
        reason = ""
        for order in orders(batch):
            found = probe(self.subject, batch, order=order)
            if found.trace is not None:
                yield found.trace
            else:
                reason = found.untraceable
        if reason and not self.traces:
            raise UntraceableError(reason)

    def _to_audit(self, batch: Batch, number: int, is_known: bool) -> list[int]:
        """Which examples of this batch to audit: of the first, of shapes that are new, of one batch in 2, 4, 8, ..."""
        if not self.audited:
            return []
        due = number >= self._next_audit
        if due:
            power = 1 << number.bit_length()
            self._next_audit = self._random.randrange(power, 2 * power)
        if number == 0:
            return examples_of(batch.num_examples)
        if not is_known or due:
            return sorted(self._random.sample(range(batch.num_examples), min(LATER, batch.num_examples)))
        return []

    def _capture(self, batch: Batch, trace: Trace, sizes: list[Sizes] | None) -> tuple[Results, Capture]:
        collector = Collector(self.parameters, self.planner, batch.num_examples)
        rewrites = {**REWRITES, **self.subject.meaning}
        mode = Capture(
            self.parameters,
            trace,
            rewrites,
            batch.num_examples,
            collector.receive,
            stand_ins=self._stand_ins,
            expected_sizes=sizes,
        )
        collector.meetings_of = mode.meetings_of
        mode.ends += [leaf for leaf in leaves_of(batch.inputs) if isinstance(leaf, Tensor) and leaf.requires_grad]
        losses = self.subject.losses(batch, mode)
        self._check(losses)
        missed, rowwise = backward(losses, mode, self.parameters)
        with torch.no_grad():
            collector.finish()
            collector.add_rowwise(rowwise)
        results = {name: result for name, result in collector.results.items() if name not in missed}
        if missed:
            results |= self._missed(batch, {name: self.parameters[name] for name in missed})
        return self._with_unused(results, batch.num_examples), mode

    @staticmethod
    def _check(losses: Tensor) -> None:
        """InputError for losses that are no numbers: everything that follows would be none."""
        if not math.isfinite(losses.detach().sum()) and not bool(losses.isfinite().all()):  # finite ones may overflow
            i = int((~losses.isfinite()).nonzero()[0])
            raise InputError(
                f"the loss of example {i} of a batch is {float(losses[i])}: expected finite losses. Look for NaN or "
                "infinity in its inputs, or for a model that has diverged"
            )

    def _with_unused(self, results: Results, num_examples: int) -> Results:
        """Parameters the losses do not depend on have zero gradients; names in the model's order."""
        return {
            name: results[name] if name in results else _zero(p, num_examples) for name, p in self.parameters.items()
        }

    def _missed(self, batch: Batch, parameters: Mapping[str, Tensor]) -> Results:
        """The loop for the parameters that autograd reached past the trace; NaN where the model runs on no one."""
        try:
            return self._one_by_one(batch, parameters, "per-example loop")
        except Exception as error:
            refuse_out_of_memory(error)
            return {name: _unavailable(p, batch.num_examples, error) for name, p in parameters.items()}

    def _slow(self, batch: Batch) -> Results:
        """Every parameter by the loop; on the first batch its sums are audited."""
        results = self._loop(batch, f"per-example loop: {self.given_up or self.reason}"[:200])
        if self.audited and self._batches == 1:
            wrong = audit_sums(self.subject, batch, results)
            if wrong is not None:
                first = "" if self.reason.startswith("audit") else f" (a faster way had failed: {self.reason})"
                raise MeasurementError(
                    f"{wrong}. Each example was measured alone, and their gradients do not add up to the batch's: what "
                    "an example contributes depends on the others, or on how many they are, or a hook changes a "
                    f"gradient{first}"
                )
        return results

    def _loop(self, batch: Batch, reason: str) -> Results:
        try:
            self._check(self.subject.losses(batch).detach())
        except BatchscopeError:
            if batch.num_examples > 1:
                raise
        except Exception as error:
            refuse_out_of_memory(error)
            if batch.num_examples > 1:
                raise model_error(error, batch.num_examples) from error
        try:
            return self._one_by_one(batch, self.parameters, reason)
        except BatchscopeError:
            raise
        except Exception as error:
            refuse_out_of_memory(error)
            if batch.num_examples == 1:
                raise model_error(error, 1) from error
            raise MeasurementError(
                f"the model runs on a batch of {batch.num_examples} examples but not on one of them alone "
                f"({described(error)}), and faster ways failed ({self.reason or self.given_up}). Where the first "
                "axis does "
                "not count examples, give examples=, a function from a batch to its single examples"
            ) from error

    def _one_by_one(self, batch: Batch, parameters: Mapping[str, Tensor], reason: str) -> Results:
        n = batch.num_examples

        def rows() -> Iterator[Gradients]:
            return (self.subject.gradients_of_one(batch, i, parameters) for i in range(n))

        if n == 1:
            return add_up(rows(), parameters, reason, is_one=True)
        return add_up(timed(rows(), n, self.costs, self.expected), parameters, reason, is_one=False)


def _zero(parameter: Tensor, num_examples: int) -> Result:
    zeros = torch.zeros_like(parameter)
    return Result(zeros.new_zeros(num_examples), zeros, Measured(("not used by the loss",), "none"))


def _unavailable(parameter: Tensor, num_examples: int, error: Exception) -> Result:
    """NaN, so that no total can silently be smaller than it is."""
    nans = torch.full_like(parameter, math.nan)
    why = f"no rule, and the model fails on a batch of one ({described(error)})"
    return Result(nans.new_full((num_examples,), math.nan), nans, Measured((why,), UNAVAILABLE))
