"""The convolutional panels of Figure 3: LeNet on all of MNIST as far as it was run, the others in small."""

from __future__ import annotations

from reproduction import claims  # noqa: F401  the page lists these first
from reproduction.evidence import (
    LENET,
    LENET_SMALL,
    OF_DECISION,
    RESNET18_BLOCKS,
    RESNET18_HEAD,
    RESNET34_BLOCKS,
    Answer,
    batch_sizes,
    cell_of,
    claim,
    deeper_over_wider,
    found,
    results,
    with_interval,
)

MORE_WIDTH = "at a fixed batch size more width nearly always means fewer epochs"
BLOCKS = "shapes by the number of blocks in each chunk"
HEADS = "fully-connected parts of 1, 3 and 10 hidden layers"


@claim("3ef, LeNet", f"LeNet: {MORE_WIDTH}", LENET)
def _3e() -> Answer:
    return _by_width(
        LENET, f"431 000 parameters, all of MNIST, to 98 %, at most 100 epochs, 3 seeds; {HEADS}, plain SGD"
    )


@claim("3ef, LeNet in small", "the same", LENET_SMALL)
def _3e_small() -> Answer:
    return _in_small(LENET_SMALL, f"431 000 parameters, 3000 MNIST images, to 98 %; {HEADS}")


@claim("3ef, ResNet-18", "ResNet-18: the same", RESNET18_HEAD)
def _3f() -> Answer:
    return _in_small(RESNET18_HEAD, f"8 filters, 512 CIFAR-10 images, to 95 %; {HEADS}")


@claim("3g", "ResNet-18, blocks and filters traded (open: O1): the trend can be seen, less sharply", RESNET18_BLOCKS)
def _3g() -> Answer:
    return _in_small(RESNET18_BLOCKS, f"273 500 parameters, 512 CIFAR-10 images, to 95 %; {BLOCKS}")


@claim("3h", "ResNet-34: the same (open: O1)", RESNET34_BLOCKS)
def _3h() -> Answer:
    return _in_small(RESNET34_BLOCKS, f"135 000 parameters, 512 CIFAR-10 images, to 95 %; {BLOCKS}")


def _in_small(recipe: str, scale: str) -> Answer:
    most, seeds = results(recipe).study.max_epochs, results(recipe).study.num_seeds
    return _by_width(recipe, f"in small: {scale}, at most {most} epochs, {seeds} seeds, plain SGD")


def _by_width(recipe: str, under: str) -> Answer:
    slower = found(recipe)["F2"]
    return Answer(f"{_by_depth(recipe)}; {deeper_over_wider(slower)}", OF_DECISION[slower.decision], under)


def _by_depth(recipe: str) -> str:
    """Epochs at every batch size, a line for each depth."""
    depths = sorted({depth for depth, _ in cell_of(recipe)})
    lines = [", ".join(with_interval(cell_of(recipe)[depth, size]) for size in batch_sizes(recipe)) for depth in depths]
    sizes = ", ".join(map(str, batch_sizes(recipe)))
    return f"epochs at B = {sizes}: " + "; ".join(
        f"L = {depth}: {line}" for depth, line in zip(depths, lines, strict=True)
    )
