"""`observe` inside a training loop: what it costs, against the same loop without it.

    python -m benchmarks.observe [--rounds 9] [--steps 10] [--threads 1] [--rows mlp,gpt,...] [--device cpu]
        [--processor-time] [--out NAME]

Two copies of one model run the same loop (forward, backward, optimizer step) on the same batches, one plain, one
observed. They take turns of `--steps` steps; a row shows the median over rounds of observed time over plain time, for
every step observed and for one in 50 (there a turn is 50 steps, one of them observed). The first observed step, which
learns the model's calls and audits, is timed apart, as a multiple of a plain step. Memory is the peak of resident
memory (on CUDA: of allocated memory) of a fresh process over a few steps, model, data and optimizer included, observed
over plain. Every row ends with a comparison of the parameters: bit for bit the same.

Rows of Hugging Face's GPT-2 (plain, with LoRA, with activation checkpointing) need `transformers` and `peft`. The rows
"lightning" and "huggingface" are trainers with and without the callback of batchscope.integrations; see `trainers`.
"""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks import trainers
from benchmarks.gradient_models import GPT, huggingface
from benchmarks.gradient_models import ROWS as MODELS
from benchmarks.machine import write
from benchmarks.turns import (
    Clock,
    begin,
    in_turns,
    peak,
    peak_of_process,
    ratios,
    reset_peak,
    spread_of,
    step_parser,
    timed,
)

EVERY = 50  # the sparse setting


@dataclass(frozen=True)
class Row:
    """title: for the table. build: the model. data: a batch. loss(model, batch): what the loop backpropagates."""

    title: str
    build: Callable[[], nn.Module]
    data: Callable[[], tuple[Tensor, ...]]
    loss: Callable[[nn.Module, tuple[Tensor, ...]], Tensor]


def of_model(name: str) -> Row:
    """A row of benchmarks.gradients, trained on the mean of its loss."""
    row = MODELS[name]
    return Row(row.title, row.build, row.data, lambda model, batch: row.loss(model(batch[0]), batch[1]).mean())


def tokens(sequences: int, length: int) -> tuple[Tensor, ...]:
    return (torch.randint(0, 512, (sequences, length), generator=torch.Generator().manual_seed(0)),)


def causal_loss(model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
    (ids,) = batch
    logits = model(input_ids=ids).logits
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())


def hugging_face(**options: Any) -> Any:
    """A GPT-2 of 4 layers and 128 units."""
    return huggingface(length=64, d=128, heads=4, **options)


def hugging_face_row(title: str, **options: Any) -> Row:
    return Row(title, lambda: hugging_face(**options), lambda: tokens(8, 64), causal_loss)


ROWS = {
    "mlp": of_model("fc"),
    "lenet": of_model("lenet"),
    "gpt": Row(
        "GPT 2 layers d=128 T=64, B=8",
        lambda: GPT(length=64, d=128, depth=2),
        lambda: tokens(8, 64),
        lambda model, batch: F.cross_entropy(model(batch[0])[:, :-1].flatten(0, 1), batch[0][:, 1:].flatten()),
    ),
    "gpt2": hugging_face_row("GPT-2 of Hugging Face, 4 layers, 128 units, 8 sequences of 64"),
    "gpt2-lora": hugging_face_row("the same with LoRA of rank 8", lora=("c_attn", "c_proj", "c_fc")),
    "gpt2-checkpointing": hugging_face_row("the same with activation checkpointing", checkpointing=True),
}


class Loop:
    """A training loop. every: None for the plain one."""

    def __init__(self, row: Row, device: str, every: int | None) -> None:
        torch.manual_seed(0)
        self.model = row.build().to(device).train()
        self.batch = tuple(tensor.to(device) for tensor in row.data())
        self.optimizer = torch.optim.AdamW([p for p in self.model.parameters() if p.requires_grad], 1e-4)
        self._row, self._every = row, every

    @contextlib.contextmanager
    def watched(self) -> Iterator[Any]:
        import batchscope as bs

        if self._every is None:
            yield None
            return
        with bs.observe(self.model, every=self._every, optimizer=self.optimizer) as observed:
            yield observed

    def step(self) -> None:
        self._row.loss(self.model, self.batch).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def steps(self, count: int) -> None:
        for _ in range(count):
            self.step()


def run(row: Row, every: int, rounds: int, steps: int, device: str, clock: Clock) -> dict[str, Any]:
    """Plain and observed loop in turns."""
    plain, watched = Loop(row, device, None), Loop(row, device, every)
    plain.steps(2)
    with watched.watched() as observed:
        first = timed(watched.step, device, clock)  # a fresh model's, which has costs of its own
        watched.steps(1)
        watched.steps(every - 2 if every > 2 else 0)
        plain.steps(every - 2 if every > 2 else 0)
        sides = {"plain": partial(plain.steps, steps), "watched": partial(watched.steps, steps)}
        times = in_turns(sides, rounds, device, clock)
        way, notes = observed.way, [str(note) for note in observed.notes]
        observed_steps = len(observed.history)
    same = all(torch.equal(a, b) for a, b in zip(plain.model.parameters(), watched.model.parameters(), strict=True))
    seconds = statistics.median(times["plain"]) / steps
    return {
        **spread_of(ratios(times["watched"], times["plain"])),
        "first_step_in_plain_steps": first / seconds, "plain_ms": 1e3 * seconds, "way": way, "notes": notes,
        "observed_steps": observed_steps, "parameters_equal": same,
    }  # fmt: skip


def print_memory(row: Row, every: int | None, device: str) -> None:
    """Peak of the steps after the first two, which load code and learn the model's calls, and of those two."""
    from batchscope.gradients.observing import observe  # noqa: F401 - loaded code counts for both sides

    loop = Loop(row, device, every)
    with loop.watched():
        reset_peak(device)
        loop.steps(6)
        print(peak(device))


def main() -> None:
    parser = step_parser(__doc__, (*ROWS, *TRAINERS), "observe", "EVERY", rounds=9, threads=1)
    parser.add_argument("--steps", type=int, default=10, help="steps in a turn where every step is observed")
    arguments = parser.parse_args()
    clock, record = begin(arguments, "transformers", "peft")
    record["rows"] = {}
    if arguments.memory_of:
        name, every = arguments.memory_of
        print_memory(ROWS[name], int(every) or None, arguments.device)
        return
    for name in arguments.rows.split(","):
        if name in TRAINERS:
            show_trainer(name, record, arguments.rounds, clock)
            continue
        row = ROWS[name]
        print(f"\n{row.title}", flush=True)
        try:
            found = {
                "every=1": run(row, 1, arguments.rounds, arguments.steps, arguments.device, clock),
                f"every={EVERY}": run(row, EVERY, max(1, arguments.rounds // 3), EVERY, arguments.device, clock),
            }
        except ImportError as error:
            record["rows"][name] = {"error": str(error)}
            print(f"  left out: {error}")
            continue
        found["peak_mb"] = {
            side: peak_of_process("benchmarks.observe", name, every, arguments.device)
            for side, every in (("plain", "0"), ("observed", "1"))
        }
        record["rows"][name] = found
        show(found)
    print("\nwritten to", write(arguments.out, record))


TRAINERS = {
    "lightning": lambda clock: (
        lambda observed: trainers.lightning(hugging_face, causal_loss, tokens(8, 64)[0], observed, clock)
    ),
    "huggingface": lambda clock: (
        lambda observed: trainers.hugging_face(hugging_face, tokens(8, 64)[0], observed, clock)
    ),
}


def show_trainer(name: str, record: dict[str, Any], rounds: int, clock: Clock) -> None:
    """A row of a trainer with its callback, printed and kept."""
    print(f"\n{name}: its trainer with the callback, GPT-2 of 4 layers, 128 units, 8 sequences of 64", flush=True)
    try:
        found = trainers.run(TRAINERS[name](clock), rounds)
    except ImportError as error:
        record["rows"][name] = {"error": str(error)}
        print(f"  left out: {error}")
        return
    record["rows"][name] = {f"every={EVERY}": found}
    print(
        f"  every={EVERY}    x{found['ratio']:.3f} ({found['ratio_least']:.3f} to {found['ratio_most']:.3f}) of "
        f"{found['plain_ms']:.2f} ms; parameters {'equal' if found['parameters_equal'] else 'DIFFER'}"
    )


def show(found: dict[str, Any]) -> None:
    for setting, result in found.items():
        if setting == "peak_mb":
            ratio = result["observed"] / result["plain"]
            print(f"  memory      x{ratio:.2f} ({result['plain']:.0f} MB plain, {result['observed']:.0f} MB observed)")
            continue
        print(
            f"  {setting:10s}  x{result['ratio']:.3f} ({result['ratio_least']:.3f} to {result['ratio_most']:.3f}) of "
            f"{result['plain_ms']:.2f} ms; first step {result['first_step_in_plain_steps']:.1f} plain steps; "
            f"{result['way']}; parameters {'equal' if result['parameters_equal'] else 'DIFFER'}"
        )
        for note in result["notes"]:
            print(f"              note: {note[:160]}")


if __name__ == "__main__":
    main()
