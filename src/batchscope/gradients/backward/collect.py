"""Collect: join the Uses of each parameter into squared norms per example and a summed gradient.

A parameter used once is finished at once, inside the backward pass. One used several times (tied, recurrent) waits for
its last use, because ‖a + b‖² needs the cross term, and for the parameters it is linked to by a common use. Views of a
parameter (transposed, sliced) keep their place in it; what is computed from parameters otherwise (weight normalisation,
a sum of matrices) is differentiated once more for every example.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from batchscope.gradients.backward.meeting import Shared
from batchscope.gradients.backward.planner import KernelChoice, Planner
from batchscope.gradients.kernels import chunks, sq_norms
from batchscope.gradients.kernels.tied import cross_term
from batchscope.gradients.rules.lazy_gradients import Dense, Factors, LookedUpRows, Norms, Use
from batchscope.gradients.subject.failures import refuse_out_of_memory
from batchscope.gradients.tracing.calls import accumulation_dtype

LOOP, UNAVAILABLE = "loop", "not measured"  # in place of a kernel's name


@dataclass(frozen=True)
class Measured:
    """How a parameter was measured. rules: of its uses. kernel: see the plan; "dense": gradients formed in chunks."""

    rules: tuple[str, ...]
    kernel: str
    choice: KernelChoice | None = None


@dataclass(frozen=True)
class Result:
    """sq_norms: [N], ‖g_i‖² of one parameter. grad_sum: its sum_i g_i; empty where norms alone were wanted.
    measured: how."""

    sq_norms: Tensor
    grad_sum: Tensor
    measured: Measured


_ROWWISE = Measured(("linear",), "outer")


@dataclass
class Collector:
    """Receives Uses during the backward pass; `results` is complete after `finish`.

    norms_alone: leave out the summed gradients, which the ordinary backward pass forms beside it.
    """

    parameters: Mapping[str, Tensor]
    planner: Planner
    num_examples: int
    meetings_of: Mapping[str, int] = field(default_factory=dict)
    results: dict[str, Result] = field(default_factory=dict)
    norms_alone: bool = False
    _waiting: list[tuple[Shared, Use, str]] = field(default_factory=list)
    _received: dict[str, int] = field(default_factory=dict)

    def receive(self, operand: Shared, use: Use, rule: str) -> None:
        """Take the per-example gradients of one operand, made by `rule`: measured now, or kept until all uses are
        here.
        """
        (name, *others) = operand.roots
        if not others and self.meetings_of[name] == 1:
            if operand.tensor is self.parameters[name]:
                self.results[name] = self._single(name, operand, [use], (rule,))
            else:
                self._finish_group([name], [(operand, use, rule)])
            return
        for root in operand.roots:
            self._received[root] = self._received.get(root, 0) + 1
        self._waiting.append((operand, use, rule))
        names = self._linked(operand.roots)
        if all(self._received.get(name) == self.meetings_of[name] for name in names):
            self._finish(names)

    def finish(self) -> None:
        """Treat what still waits: parameters with a use that the losses do not depend on."""
        while self._waiting:
            self._finish(self._linked(self._waiting[0][0].roots))

    def add_rowwise(self, found: Iterable[tuple[str, Tensor, Tensor]]) -> None:
        """(parameter, squared norms, summed gradient) of the row-wise calls."""
        self.results.update((name, Result(norms, total, _ROWWISE)) for name, norms, total in found)

    def _linked(self, names: frozenset[str]) -> frozenset[str]:
        """The named parameters and all that are connected to them by waiting uses of several parameters."""
        while more := {root for shared, _, _ in self._waiting if shared.roots & names for root in shared.roots} - names:
            names |= more
        return names

    def _finish(self, names: frozenset[str]) -> None:
        group = [entry for entry in self._waiting if entry[0].roots & names]
        self._waiting = [entry for entry in self._waiting if not entry[0].roots & names]
        self._finish_group(sorted(names), group)

    def _finish_group(self, names: list[str], group: list[tuple[Shared, Use, str]]) -> None:
        rules = tuple(dict.fromkeys(rule for _, _, rule in group))
        operands = list({id(operand): operand for operand, _, _ in group}.values())
        views = [operand.tensor for operand in operands]
        if len(names) == 1 and all(map(self._name_of, operands)) and _are_disjoint(views, self.parameters[names[0]]):
            uses = {id(operand): [use for o, use, _ in group if o is operand] for operand in operands}
            parts = [self._single(names[0], operand, uses[id(operand)], rules) for operand in operands]
            self.results[names[0]] = parts[0] if len(parts) == 1 else _added(parts)
        else:
            self.results.update(self._dense(names, group, rules))

    def _single(self, name: str, operand: Shared, uses: list[Use], rules: tuple[str, ...]) -> Result:
        """All uses are of one view of one parameter, whose entries it shows at most once: norms carry over."""
        kinds = join(uses)
        if kinds is None:
            return self._dense([name], [(operand, use, "") for use in uses], rules)[name]
        if self.norms_alone and isinstance(kinds[0], Dense):  # which has one kernel: nothing to choose
            norms = (kinds[0].norms or Norms(kinds[0].grads)).squares
            return Result(norms, norms.new_empty(0), Measured(rules, "direct"))
        (norms, total), choice = self._run(kinds[0])
        if len(kinds) == 2:  # a tied table: ‖a + b‖² = ‖a‖² + ‖b‖² + 2 <a, b>
            (more_norms, more), _ = self._run(kinds[1])
            norms, total = norms + more_norms + 2 * cross_term(*kinds), total + more
            rules = (*rules, "tied")
        parameter = self.parameters[name]
        if not self.norms_alone and (operand.tensor is not parameter or total.shape != parameter.shape):
            total = _place(parameter, operand.tensor, total.unsqueeze(0)).squeeze(0)
        return Result(norms, total, Measured(rules, choice.kernel, choice))

    def _run(self, use: Use) -> tuple[tuple[Tensor, Tensor], KernelChoice]:
        if not self.norms_alone:
            return self.planner.run(use)
        norms, choice = self.planner.norms(use)
        return (norms, norms.new_empty(0)), choice

    def _dense(
        self, names: list[str], group: list[tuple[Shared, Use, str]], rules: tuple[str, ...]
    ) -> dict[str, Result]:
        """Per-example gradients of the named parameters, formed in chunks."""
        size = sum(self.parameters[name].numel() for name in names)
        chunk = max(1, self.planner.memory_budget // (24 * max(size, 1)))
        norms: dict[str, list[Tensor]] = {name: [] for name in names}
        totals = {name: torch.zeros_like(p, dtype=accumulation_dtype(p.dtype)) for name, p in self._pick(names)}
        for rows in chunks(self.num_examples, chunk):
            for name, gradients in self._gradients(names, group, rows).items():
                norms[name].append(sq_norms(gradients))
                totals[name] += gradients.sum(0)
        if self.norms_alone:
            totals = {name: total.new_empty(0) for name, total in totals.items()}
        measured = Measured(rules, "dense")
        return {name: Result(torch.cat(norms[name]), totals[name], measured) for name in names}

    def _gradients(self, names: list[str], group: list[tuple[Shared, Use, str]], rows: slice) -> dict[str, Tensor]:
        """name -> [n, *shape] of the examples `rows`."""
        n = rows.stop - rows.start
        gradients = {name: p.new_zeros(n, *p.shape, dtype=accumulation_dtype(p.dtype)) for name, p in self._pick(names)}
        for operand, gradient in _summed_by_operand(group, rows):
            name = self._name_of(operand)
            if name is not None:
                gradients[name] += _place(self.parameters[name], operand.tensor, gradient)
            else:
                roots = sorted(operand.roots)
                for root, pulled in zip(roots, self._pull_back(operand.tensor, roots, gradient), strict=True):
                    if pulled is not None:
                        gradients[root] += pulled
        return gradients

    def _pull_back(self, derived: Tensor, roots: list[str], gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Per-example gradients of what `derived` was computed from: its own backward pass, for all examples."""
        leaves = [self.parameters[root] for root in roots]
        gradient = gradient.to(derived.dtype)

        def pull(cotangent: Tensor, batched: bool) -> tuple[Tensor | None, ...]:
            return torch.autograd.grad(
                derived, leaves, cotangent, retain_graph=True, is_grads_batched=batched, allow_unused=True
            )

        with torch.enable_grad():
            try:
                return pull(gradient, True)
            except RuntimeError as error:  # an operation that cannot be batched
                refuse_out_of_memory(error)
                rows = [pull(row, False) for row in gradient]
                return tuple(None if c[0] is None else torch.stack(c) for c in zip(*rows, strict=True))

    def _pick(self, names: Iterable[str]) -> list[tuple[str, Tensor]]:
        return [(name, self.parameters[name]) for name in names]

    def _name_of(self, operand: Shared) -> str | None:
        """The parameter that `operand` is, or is a view of without repetition; None otherwise."""
        if len(operand.roots) != 1:
            return None
        (name,) = operand.roots
        parameter = self.parameters[name]
        if operand.tensor is parameter or _is_plain_view(operand.tensor, parameter):
            return name
        return None


def join(uses: list[Use]) -> tuple[Use] | tuple[Factors, LookedUpRows] | None:
    """Several uses of one weight as one, or as a product and a look-up; None when their cross terms have no kernel."""
    if len(uses) == 1:
        return (uses[0],)
    factors = [use for use in uses if isinstance(use, Factors)]
    rows = [use for use in uses if isinstance(use, LookedUpRows)]
    if len(factors) + len(rows) < len(uses):
        return None
    if not rows:
        return (join_factors(factors),)
    looked_up = LookedUpRows(
        torch.cat([use.index for use in rows], 1), torch.cat([use.grads for use in rows], 1), rows[0].shape
    )
    return (join_factors(factors), looked_up) if factors else (looked_up,)


def join_factors(uses: list[Factors]) -> Factors:
    """Concatenate positions."""
    return Factors(torch.cat([use.left for use in uses], 1), torch.cat([use.right for use in uses], 1), uses[0].shape)


def _summed_by_operand(group: list[tuple[Shared, Use, str]], rows: slice) -> list[tuple[Shared, Tensor]]:
    sums: dict[int, tuple[Shared, Tensor]] = {}
    for operand, use, _ in group:
        gradient = use.dense(rows).reshape(-1, *operand.tensor.shape)
        key = id(operand)
        sums[key] = (operand, sums[key][1] + gradient if key in sums else gradient)
    return list(sums.values())


def _is_plain_view(view: Tensor, base: Tensor) -> bool:
    """Whether `view` shows entries of `base`'s memory, each at most once."""
    if view.untyped_storage().data_ptr() != base.untyped_storage().data_ptr() or view.dtype != base.dtype:
        return False
    axes = sorted((step, size) for step, size in zip(view.stride(), view.shape, strict=True) if size > 1)
    reach = 0  # offset of the last entry the axes so far can show
    for step, size in axes:
        if step <= reach:
            return False
        reach += step * (size - 1)
    return True


def _are_disjoint(views: list[Tensor], base: Tensor) -> bool:
    """Whether plain views of `base` show different entries: then squared norms add up without a cross term."""
    if len(views) == 1:
        return True
    counts = sum(_place(base, view, torch.ones(1, *view.shape, device=base.device)) for view in views)
    return bool((torch.as_tensor(counts) <= 1).all())


def _added(parts: list[Result]) -> Result:
    """Results of disjoint parts of one parameter."""
    kernels = "+".join(dict.fromkeys(part.measured.kernel for part in parts))
    norms, total = torch.stack([p.sq_norms for p in parts]).sum(0), torch.stack([p.grad_sum for p in parts]).sum(0)
    return Result(norms, total, Measured(parts[0].measured.rules, kernels, parts[0].measured.choice))


def _place(base: Tensor, view: Tensor, gradients: Tensor) -> Tensor:
    """Gradients [n, *view's shape] of a view of `base` as gradients [n, *base's shape]."""
    if view is base:
        return gradients.reshape(-1, *base.shape)
    n, offset = len(gradients), view.storage_offset() - base.storage_offset()
    flat = gradients.new_zeros(n, math.prod(base.shape))
    flat.as_strided((n, *view.shape), (base.numel(), *view.stride()), offset).copy_(gradients.reshape(n, *view.shape))
    return flat.as_strided((n, *base.shape), (base.numel(), *base.stride()), 0)
