"""Which step of the training loop it is. A step is the optimizer's.

Given an optimizer, or as soon as any torch optimizer that holds one of the model's parameters steps, its calls of
`step` are counted. Until then (and for loops that update parameters in another way) every `accumulation` backward
passes count as a step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import (
    Optimizer,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from batchscope.errors import InputError, MeasurementError


class Steps:
    """Counts steps.

    optimizer: None: look out for one. accumulation: backward passes per step where no optimizer was seen; None: 1.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        optimizer: Optimizer | None,
        accumulation: int | None,
    ) -> None:
        self._ids = {id(p) for p in parameters}
        self.optimizer = None if optimizer is None else _innermost(optimizer, self._ids)
        self.accumulation = accumulation or 1
        self._on_end: Callable[[int], object] = _ignore
        self._on_found: Callable[[bool], object] = _ignore
        self.current = 0
        self.passes = 0  # with a backward pass, while no optimizer was seen
        self.is_optimizers = self.optimizer is not None
        self.inside = False  # within a call of the optimizer's step, and not behind its update
        self._handles: list[Any] = []

    def start(
        self, on_end: Callable[[int], object], on_found: Callable[[bool], object], guard: Callable[..., Any]
    ) -> None:
        """Call on_end(step) before the parameters change, or after the last pass of an optimizer's closure; and
        on_found(whether its first step agrees with the passes counted so far) when an optimizer shows itself. guard:
        lets no error of ours through."""
        self._on_end, self._on_found = on_end, on_found

        def before(*arguments: Any) -> None:
            guard(self._before, *arguments)

        def after(*arguments: Any) -> None:
            guard(self._after, *arguments)

        if self.optimizer is not None:
            pre, post = self.optimizer.register_step_pre_hook, self.optimizer.register_step_post_hook
            self._handles = [pre(before), post(after)]
        else:
            self._handles = [
                register_optimizer_step_pre_hook(before),
                register_optimizer_step_post_hook(after),
            ]

    def stop(self) -> None:
        """Take the hooks off; nobody is told of steps any more."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self._on_end = self._on_found = _ignore

    def follow(self, parameters: Iterable[Tensor]) -> None:
        """The model has other parameters now. MeasurementError when the optimizer that is counted has none of them."""
        self._ids = {id(p) for p in parameters}
        if self.optimizer is not None and not _holds(self.optimizer, self._ids):
            raise MeasurementError(
                f"the optimizer whose steps are counted ({type(self.optimizer).__name__}) holds none of the parameters "
                "that the model was called with: they were replaced (observe again, with the new optimizer), or lent "
                "by torch.func.functional_call"
            )

    def held(self, parameters: Mapping[str, Tensor]) -> list[str]:
        """Names of the parameters that the optimizer has whose steps are counted."""
        groups = [] if self.optimizer is None else self.optimizer.param_groups
        ids = {id(p) for group in groups for p in group["params"]}
        return [name for name, parameter in parameters.items() if id(parameter) in ids]

    def add_pass(self) -> None:
        """A backward pass has ended."""
        if self.is_optimizers:
            return
        self.passes += 1
        if self.passes % self.accumulation == 0:
            self._on_end(self.current)
            self.current += 1

    def _before(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if torch.compiler.is_compiling() or not self._is_ours(optimizer):
            return
        if torch._C._current_graph_task_id() >= 0:  # steps of single parameters as their gradients come
            self.is_optimizers = False
            return
        self.inside = True
        if not self.is_optimizers:
            self.is_optimizers, self.optimizer = True, optimizer
            self._on_found(self.passes in (0, self.accumulation))
            self.current = 0
            if self.passes == self.accumulation:  # counted and ended already
                return
        if not _has_closure(args, kwargs):
            self._on_end(self.current)

    def _after(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if torch.compiler.is_compiling() or not self._is_ours(optimizer):
            return
        # observing may have begun within the closure that the optimizer was called with
        if not self.inside and not (self.is_optimizers and _has_closure(args, kwargs)):
            return
        self.inside = False
        if _has_closure(args, kwargs):
            self._on_end(self.current)
        self.current += 1

    def _is_ours(self, optimizer: Optimizer) -> bool:
        if self.optimizer is not None:
            return optimizer is self.optimizer
        return _holds(optimizer, self._ids)


def _holds(optimizer: Optimizer, ids: set[int]) -> bool:
    """Whether the optimizer has one of the parameters."""
    return any(id(p) in ids for group in optimizer.param_groups for p in group["params"])


def _ignore(*arguments: object) -> None:
    """Before the start and after the end."""


def _has_closure(args: Any, kwargs: Any) -> bool:
    """Whether `step` was called with a closure; args[0] is the optimizer."""
    return (len(args) > 1 and callable(args[1])) or callable((kwargs or {}).get("closure"))


def _innermost(optimizer: Any, ids: set[int]) -> Optimizer:
    """The torch optimizer inside wrappers that hold it as `.optimizer`; InputError for anything else."""
    while not isinstance(optimizer, Optimizer) or isinstance(getattr(optimizer, "optimizer", None), Optimizer):
        inner = getattr(optimizer, "optimizer", None)
        if inner is None:
            raise InputError(
                f"optimizer is a {type(optimizer).__name__}: expected a torch.optim.Optimizer that holds the model's "
                "parameters; without one, leave optimizer out and steps are counted by backward passes"
            )
        optimizer = inner
    if not _holds(optimizer, ids):
        raise InputError(
            f"the optimizer ({type(optimizer).__name__}) holds none of the model's parameters: "
            "expected the one that trains this model"
        )
    return optimizer
