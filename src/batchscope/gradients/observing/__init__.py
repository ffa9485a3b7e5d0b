"""`observe`: gradient moments inside a training loop that is left as it is."""

from batchscope.gradients.observing.curve import NoiseWindow, noise_curve, noise_window
from batchscope.gradients.observing.history import GroupMoments, StepMoments
from batchscope.gradients.observing.notes import Note, Notes, ObserveWarning
from batchscope.gradients.observing.observe import observe

__all__ = [
    "GroupMoments",
    "NoiseWindow",
    "Note",
    "Notes",
    "ObserveWarning",
    "StepMoments",
    "noise_curve",
    "noise_window",
    "observe",
]
