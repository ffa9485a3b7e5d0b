"""What the formulas say: one paper per file, plain numbers in, plain numbers out. Never imports torch.

`chen2018`: gradient diversity of networks by shape (Theorems 1-3 and the exact values behind them).
`yin2018`: gradient diversity, the batch-size bound, what a batch costs, finite samples.
`mccandlish2018`: noise scale and the trade-off of steps against examples.
"""

from batchscope.theory import chen2018, mccandlish2018, yin2018

__all__ = ["chen2018", "mccandlish2018", "yin2018"]
