"""What a step's moments must be, example by example, by plain autograd in float64."""

import copy

import torch


def moments(model, losses, examples):
    """(S1, Q) of examples at the model's weights. losses(model, example) -> the summed loss of one example."""
    model = copy.deepcopy(model).double()
    parameters = [p for p in model.parameters() if p.requires_grad]
    gradients = []
    for example in examples:
        found = torch.autograd.grad(losses(model, example), parameters, allow_unused=True)
        gradients.append(torch.cat([g.flatten() for g in found if g is not None]))
    stacked = torch.stack(gradients)
    return float(stacked.square().sum()), float(stacked.sum(0).square().sum())


def events(folder):
    """tag -> [(step, value)] of all TensorBoard event files below a folder."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = {}
    for path in folder.rglob("events.out.tfevents*"):
        accumulator = EventAccumulator(str(path))
        accumulator.Reload()
        for tag in accumulator.Tags()["scalars"]:
            found.setdefault(tag, []).extend((e.step, e.value) for e in accumulator.Scalars(tag))
    return found
