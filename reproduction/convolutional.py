"""The convolutional panels of Figure 3: LeNet on all of MNIST as far as it was run, the others in small."""

from __future__ import annotations

from functools import partial

from reproduction import claims  # noqa: F401  the page lists these first
from reproduction.evidence import (
    LENET,
    LENET_SMALL,
    RESNET18_BLOCKS,
    RESNET18_BLOCKS_NIGHT,
    RESNET18_BLOCKS_TUNED,
    RESNET18_HEAD,
    RESNET18_HEAD_NIGHT,
    RESNET34_BLOCKS,
    RESNET34_BLOCKS_NIGHT,
    Answer,
    batch_sizes,
    cell_of,
    claim,
    deeper_over_wider,
    found,
    results,
    verdict_of,
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


# Id, what the paper says, its small form and that for a night, its nets.
RESNETS = (
    ("3ef, ResNet-18", "ResNet-18: the same", (RESNET18_HEAD, RESNET18_HEAD_NIGHT), "8 filters", HEADS),
    (
        "3g",
        "ResNet-18, blocks and filters traded (open: O1): the trend can be seen, less sharply",
        (RESNET18_BLOCKS, RESNET18_BLOCKS_NIGHT),
        "273 500 parameters",
        BLOCKS,
    ),
    ("3h", "ResNet-34: the same (open: O1)", (RESNET34_BLOCKS, RESNET34_BLOCKS_NIGHT), "135 000 parameters", BLOCKS),
)


def _of_images(recipe: str, nets: str, shapes: str) -> Answer:
    return _in_small(recipe, f"{nets}, {results(recipe).study.num_examples} CIFAR-10 images, to 95 %; {shapes}")


for _id, _paper, (_small, _night), *_nets in RESNETS:
    claim(_id, _paper, _small)(partial(_of_images, _small, *_nets))
    claim(f"{_id}, a night", "the same on eight times the images", _night)(partial(_of_images, _night, *_nets))


claim("3g, a night, tuned", "the same at B = 256, step sizes tuned on epochs to the target", RESNET18_BLOCKS_TUNED)(
    partial(
        _of_images, RESNET18_BLOCKS_TUNED, "273 500 parameters", f"{BLOCKS}; tuned, after the two-epoch rule's order"
    )
)


def _in_small(recipe: str, scale: str) -> Answer:
    most, seeds = results(recipe).study.max_epochs, results(recipe).study.num_seeds
    return _by_width(recipe, f"in small: {scale}, at most {most} epochs, {seeds} seeds, plain SGD")


def _by_width(recipe: str, under: str) -> Answer:
    slower = found(recipe)["F2"]
    return Answer(f"{_by_depth(recipe)}; {deeper_over_wider(slower)}", verdict_of(slower), under)


def _by_depth(recipe: str) -> str:
    """Epochs at every batch size, a line for each depth."""
    depths = sorted({depth for depth, _ in cell_of(recipe)})
    lines = [", ".join(with_interval(cell_of(recipe)[depth, size]) for size in batch_sizes(recipe)) for depth in depths]
    sizes = ", ".join(map(str, batch_sizes(recipe)))
    return f"epochs at B = {sizes}: " + "; ".join(
        f"L = {depth}: {line}" for depth, line in zip(depths, lines, strict=True)
    )
