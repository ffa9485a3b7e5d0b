"""One network under training by autograd, on any device: bf16 autocast, channels_last, a CUDA graph, data parallel."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from batchscope.data import Dataset
from batchscope.data.seeding import Stream, generator
from batchscope.training.cuda_graph import ReplayedStep
from batchscope.training.modules.augmentation import pad_crop_flip
from batchscope.training.modules.batchnorm import average_statistics, with_shares
from batchscope.training.modules.randomness import Randomness
from batchscope.training.modules.scoring import Criterion, num_correct
from batchscope.training.optimizers import update_rule
from batchscope.training.parallel import ONE_RANK, NoiseGauge, Ranks, data_parallel
from batchscope.training.settings import Member, Settings

# Activations of a pass that is only evaluated: examples at once on each kind of device.
EVALUATION_BATCH = {"cpu": 256, "cuda": 2048}


@dataclass(frozen=True)
class Examples:
    """A data set on the device. inputs: [n, ...] in the memory format of the network. targets: [n] or [n, q]."""

    inputs: Tensor
    targets: Tensor
    channels_last: bool  # strides do not tell it for images of one channel

    @classmethod
    def training(cls, dataset: Dataset, settings: Settings, device: torch.device, channels_last: bool) -> Examples:
        """The training set on the device, in the type and memory format of the run."""
        return cls._of(dataset.inputs, dataset.targets, settings, device, channels_last)

    @classmethod
    def heldout(
        cls, dataset: Dataset, settings: Settings, device: torch.device, channels_last: bool
    ) -> Examples | None:
        """The same of the held-out set; None where there is none."""
        if dataset.heldout_inputs is None or dataset.heldout_targets is None:
            return None
        return cls._of(dataset.heldout_inputs, dataset.heldout_targets, settings, device, channels_last)

    @classmethod
    def _of(cls, inputs: Any, targets: Any, settings: Settings, device: torch.device, channels_last: bool) -> Examples:
        dtype = storage_dtype(settings)
        x, y = torch.as_tensor(inputs).to(device), torch.as_tensor(targets).to(device)
        x = x.to(dtype) if x.is_floating_point() else x
        x = x.to(memory_format=torch.channels_last) if channels_last else x
        return cls(x, y.to(dtype) if y.is_floating_point() else y, channels_last)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """The examples at `indices`, in the memory format of all."""
        if self.channels_last:
            by_pixel = self.inputs.permute(0, 2, 3, 1)  # contiguous: a gather of whole rows
            return by_pixel.index_select(0, indices).permute(0, 3, 1, 2), self.targets.index_select(0, indices)
        return self.inputs.index_select(0, indices), self.targets.index_select(0, indices)

    def chunks(self, ranks: Ranks) -> Iterator[tuple[Tensor, Tensor]]:
        """This rank's share of the examples, in pieces."""
        size = EVALUATION_BATCH.get(self.inputs.device.type, 256)
        x, y = ranks.share(self.inputs), ranks.share(self.targets)
        return zip(torch.split(x, size), torch.split(y, size), strict=True)


class Network:
    """One member: its module, its update rules, and the number of the step at which its loss ceased to be finite.

    module: initialised; moved to the device and changed in place. examples: the training set, on the device.
    replayed: record the step as a CUDA graph; not with draws of random numbers or collective operations.
    """

    def __init__(
        self,
        module: nn.Module,
        examples: Examples,
        settings: Settings,
        member: Member,
        ranks: Ranks = ONE_RANK,
        replayed: bool = False,
    ) -> None:
        device = examples.inputs.device
        self.module = with_shares(module, settings.batchnorm_shares, ranks).to(device)
        if examples.channels_last:
            self.module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.examples, self.settings, self.member, self.ranks = examples, settings, member, ranks
        self.criterion, self._randomness = Criterion.of(settings), Randomness()
        self.parameters = list(self.module.parameters())
        self.rules = [update_rule(settings, parameter.detach(), parameter.dim()) for parameter in self.parameters]
        self.step_size = torch.tensor(member.step_size, dtype=storage_dtype(settings), device=device)
        self.noise = NoiseGauge(ranks, device) if ranks.size > 1 else None
        self._forward = data_parallel(self.module, device, self.noise) if ranks.size > 1 else self.module
        self._failed_at = torch.full((), -1, dtype=torch.int64, device=device)
        self._steps = torch.zeros((), dtype=torch.int64, device=device)
        scale = self.rules[0].scale(self.step_size)
        # A number where it stays as it is; the tensor itself where a schedule changes it, also within a CUDA graph.
        self._scale: Any = scale if settings.is_scheduled else float(scale)
        self._correct = torch.zeros((), dtype=torch.float64, device=device)
        self._draws = torch.Generator(device)
        self.step = ReplayedStep(self._step, device) if replayed else self._step

    def begin_epoch(self, epoch: int) -> None:
        """Start the random numbers of an epoch, which do not depend on earlier ones."""
        self._draws.manual_seed(int(generator(self.member.seed, Stream.AUGMENTATION, epoch).integers(2**63)))
        self._randomness.begin_epoch(self.member.seed, epoch)
        self._failed_at.fill_(-1)
        self._steps.zero_()
        self._correct.zero_()
        self.module.train()

    def scale_step_size(self, factor: float) -> None:
        """Multiply the member's own step size by `factor`, in place."""
        self.step_size.fill_(self.member.step_size * factor)

    @property
    def failed_at(self) -> int | None:
        """Steps of this epoch done before the one whose loss was not finite; None while all were."""
        step = int(self._failed_at)
        return step if step >= 0 else None

    def evaluate(self, examples: Examples) -> tuple[float, float, float]:
        """Mean loss, accuracy and own metric over examples, in evaluation mode."""
        average_statistics(self.module, self.ranks)
        self.module.eval()
        sums = torch.zeros(3, dtype=torch.float64, device=examples.inputs.device)
        with torch.no_grad():
            for inputs, targets in examples.chunks(self.ranks):
                sums += self.criterion.measured(self._outputs(self.module, inputs), targets)
        self.module.train()
        loss, correct, metric = (self.ranks.add(sums) / len(examples.inputs)).tolist()
        return loss, correct, metric

    def batch_size_bound(self) -> float:
        """B_S over the training set, in evaluation mode (BatchNorm with its running statistics)."""
        from batchscope.gradients import measure

        with evaluating(self.module):
            data = (self.examples.inputs, self.examples.targets)
            report = measure(
                self.module, self.criterion.loss, data, batch_size=EVALUATION_BATCH["cpu"], batchnorm="eval"
            )
        return float(report.batch_size_bound)

    def state(self) -> dict[str, Any]:
        """What `load` needs to go on: weights, running statistics, state of the optimizer."""
        return {"module": self.module.state_dict(), "rules": [rule.state() for rule in self.rules]}

    @torch.no_grad()
    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.module.load_state_dict(state["module"])
        for rule, saved in zip(self.rules, state["rules"], strict=True):
            rule.load(saved)

    def _step(self, indices: Tensor) -> None:
        """One update on the global batch at `indices` [B], of which this rank takes its share."""
        inputs, targets = self.examples.batch(indices)
        if self.settings.augmentation == "pad_crop_flip":
            inputs = pad_crop_flip(inputs, self._draws)  # of the whole batch: the same on any number of ranks
        inputs, targets = self.ranks.share(inputs), self.ranks.share(targets)
        with self._randomness:
            outputs = self._outputs(self._forward, inputs)
        loss = self.criterion.loss(outputs, targets).sum()
        # The mean over ranks that data parallelism takes makes the sum over all examples a P-th of itself.
        torch.autograd.backward(loss * (self._scale * self.ranks.size / len(indices)))
        with torch.no_grad():
            self.note(loss.detach())
            if self.settings.counts_correct:
                self.count(num_correct(outputs, targets))
            for rule, parameter in zip(self.rules, self.parameters, strict=True):
                if parameter.grad is not None:
                    rule.take(parameter.grad)
                    parameter.grad = None
                rule.step(self.step_size)
        if self.noise is not None:
            self.noise.end_step(len(indices), self._scale)

    def count(self, correct: Tensor) -> None:
        """Add right answers to those of this epoch."""
        self._correct += correct

    @property
    def correct(self) -> float:
        """Right answers of this epoch, each before its step, on all ranks."""
        return float(self.ranks.add(self._correct.clone()))

    def note(self, loss: Tensor) -> None:
        """Count a step, and keep the number of the first whose loss is not finite; does not wait for the device."""
        loss = self.ranks.add(loss.clone()) if self.ranks.size > 1 else loss
        first = ~torch.isfinite(loss) & (self._failed_at < 0)
        self._failed_at.copy_(torch.where(first, self._steps, self._failed_at))
        self._steps += 1

    def _outputs(self, module: nn.Module, inputs: Tensor) -> Tensor:
        if self.settings.dtype != "bfloat16":
            return module(inputs)  # type: ignore[no-any-return]
        with torch.autocast(inputs.device.type, torch.bfloat16):
            outputs: Tensor = module(inputs)
        return outputs.float()


def storage_dtype(settings: Settings) -> torch.dtype:
    """The dtype of weights and data: float32 under bf16 autocast."""
    return torch.float64 if settings.dtype == "float64" else torch.float32


@contextlib.contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while."""
    module.eval()
    try:
        yield
    finally:
        module.train()
