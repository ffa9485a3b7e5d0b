"""A small residual network, as if measured."""

from types import SimpleNamespace

from batchscope.gradients import Moments
from batchscope.gradients import parts as kinds


def measured(bounds, num_examples=100):
    """What a report has of these bounds: {(block, kind): B_S}, every part with S1 = 1."""
    by_parameter = {
        f"{block}.{kind}": Moments(num_examples, 1.0, num_examples / bound if bound else 1.0)
        for (block, kind), bound in bounds.items()
    }
    where = {f"{block}.{kind}": kinds.Place(block, 3, kind, block) for block, kind in bounds}
    parts = kinds.by_block_and_kind(by_parameter, where)
    by_kind = kinds.by_kind(by_parameter, where)
    total = Moments.add(num_examples, by_parameter.values())
    return SimpleNamespace(by_block_and_kind=parts, by_kind=by_kind, total=total)


def resnet(count, scale=1.0):
    """`count` residual blocks between a stem and a head."""
    blocks = [f"layer{i}.0" for i in range(count)]
    bounds = {("stem", kinds.STEM): 5 * scale}
    for i, block in enumerate(blocks):
        bounds |= {(block, kinds.CONVOLUTION): (7 + i) * scale, (block, kinds.NORMALISATION): 11 * scale}
    return measured(bounds | {("fc", kinds.HEAD): 13 * scale})
