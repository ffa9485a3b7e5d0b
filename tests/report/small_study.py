"""A small study, for tests of what becomes of its rows."""

from batchscope.studies import Study


def study(name="quickstart", **changes):
    fields = {"dataset": "digits", "shapes": [[1, 13], [3, 11]], "batch_sizes": [8, 32, 128], "num_seeds": 3}
    return Study(name=name, target={"train_accuracy": 0.96}, **(fields | changes))
