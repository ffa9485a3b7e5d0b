"""Random crops and flips of images, on the device. Off by default, for the target is training accuracy."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

PADDING = 4  # pixels on every side: He et al. 2016, section 4.2


def pad_crop_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shift each image [N, C, H, W] by up to 4 pixels either way, filling with zeros, and mirror half of them.

    The standard augmentation for CIFAR-10 (He et al. 2016). Zeros are the mean of standardised pixels.
    """
    n, _, height, width = images.shape
    places = 2 * PADDING + 1
    shifts = torch.randint(places, (2, n), generator=generator, device=images.device)
    flips = torch.randint(2, (n, 1), generator=generator, device=images.device).bool()
    rows = shifts[0, :, None] + torch.arange(height, device=images.device)
    columns = shifts[1, :, None] + torch.arange(width, device=images.device)
    columns = torch.where(flips, columns.flip(1), columns)
    padded = F.pad(images, (PADDING,) * 4).permute(0, 2, 3, 1)
    examples = torch.arange(n, device=images.device)[:, None, None]
    return padded[examples, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
