"""What went wrong in the user's model or in measuring it, in words."""

from __future__ import annotations

import torch

from batchscope.errors import MeasurementError, RunError

LONGEST = 300  # characters of another library's message
# In the messages of lack of memory that torch raises as a plain RuntimeError: on the CPU, by CUDA, by its libraries.
SIGNS = ("can't allocate memory", "not enough memory", "CUDA error: out of memory", "STATUS_ALLOC_FAILED")


def described(error: BaseException) -> str:
    """`RuntimeError: the message`, as in `message_of`."""
    return f"{type(error).__name__}: {message_of(error)}"


def message_of(error: BaseException) -> str:
    """The message on one line, cut short, without a full stop: it becomes part of a sentence."""
    text = " ".join(str(error).split())
    return f"{text[:LONGEST]} ..." if len(text) > LONGEST else text.rstrip(". ")


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether memory ran out, on a device or on the CPU: the error itself, or one that it was raised from."""
    while error is not None:
        if isinstance(error, MemoryError | torch.OutOfMemoryError) or any(sign in str(error) for sign in SIGNS):
            return True
        error = error.__cause__
    return False


def refuse_out_of_memory(error: BaseException) -> None:
    """Raise RunError when memory ran out: a slower way would only hide it."""
    if is_out_of_memory(error):
        raise RunError(
            f"memory ran out while measuring ({described(error)}): smaller batches give the same result "
            "(batch_size=, or a smaller batch size in the data loader)"
        ) from error


def model_error(error: Exception, num_examples: int) -> MeasurementError:
    """The error for a model or a loss that does not run on the data, whoever raised it."""
    return MeasurementError(
        f"the model or the loss failed on a batch of {num_examples} examples ({described(error)}). Expected that "
        "loss(model(inputs), targets) runs, and gives one loss per example"
    )
