"""A step replayed from a CUDA graph, so that launching its kernels costs nothing; elsewhere the plain call."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Step = Callable[[Tensor], None]
# (function, its argument) -> a call that repeats function(argument), whose content may change.
Capture = Callable[[Step, Tensor], Callable[[], object]]

# Steps taken one by one before the capture: libraries choose kernels and set up workspaces in the first ones.
WARM_UP = 3


class ReplayedStep:
    """Call it like `step`. After a few calls the step is captured for batches of their shape; others run as they are.

    step: must do the same operations on the same tensors at every call, apart from what `indices` holds.
    capture: makes the recording; on CUDA devices a CUDA graph, elsewhere nothing is recorded.
    """

    def __init__(self, step: Step, device: torch.device, capture: Capture | None = None) -> None:
        self._step = step
        self._capture = capture or (capture_cuda_graph if device.type == "cuda" else None)
        self._argument: Tensor | None = None
        self._replay: Callable[[], object] | None = None
        self._calls = 0

    def __call__(self, indices: Tensor) -> None:
        if self._capture is None or (self._argument is not None and self._argument.shape != indices.shape):
            self._step(indices)
            return
        if self._argument is None:
            self._argument = indices.clone()
        self._argument.copy_(indices)
        self._calls += 1
        if self._calls <= WARM_UP:
            self._warm_up(self._argument)
            return
        if self._replay is None:
            self._replay = self._capture(self._step, self._argument)
        self._replay()

    def _warm_up(self, argument: Tensor) -> None:
        """Off the default stream, as a capture of a backward pass needs its first runs to be."""
        if not argument.is_cuda:
            self._step(argument)
            return
        here, aside = torch.cuda.current_stream(argument.device), torch.cuda.Stream(argument.device)  # type: ignore[no-untyped-call]
        aside.wait_stream(here)
        with torch.cuda.stream(aside):
            self._step(argument)
        here.wait_stream(aside)


def capture_cuda_graph(step: Step, argument: Tensor) -> Callable[[], object]:
    """Record `step(argument)`, which does not run it, and return the graph's replay."""
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize(argument.device)
    with torch.cuda.device(argument.device), torch.cuda.graph(graph):
        step(argument)
    return graph.replay
