"""The cross term of a table that is looked up (embedding) and multiplied with (output head): tied weights."""

from __future__ import annotations

import torch
from torch import Tensor

from batchscope.gradients.rules.lazy_gradients import Factors, LookedUpRows


def cross_term(product: Factors, rows: LookedUpRows) -> Tensor:
    """<gradient of the product, gradient of the look-up> per example, [N].

    With the product's gradient sum_s l_s r_s' and the look-up's sum_t onehot(id_t) e_t', it is
    sum_{t,s} l_s[id_t] <e_t, r_s>: no per-example gradient of the size of the table is formed.
    """
    inner = torch.bmm(rows.grads, product.right.mT)  # [N, T_look-up, T_product]
    picked = product.left.mT.gather(1, rows.index.unsqueeze(-1).expand_as(inner))
    return (inner * picked).sum((1, 2))
