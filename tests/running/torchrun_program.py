"""Run by torchrun in the tests: the command line, with a rank that dies when DIE_AT_EPOCH says so."""

from __future__ import annotations

import os
import sys

from batchscope.cli.main import main
from batchscope.training import checkpoint
from batchscope.training.modules.network import Network

DIE_AT_EPOCH = os.environ.get("DIE_AT_EPOCH")
begin_epoch = Network.begin_epoch


def begin_or_die(self: Network, epoch: int) -> None:
    if DIE_AT_EPOCH and epoch == int(DIE_AT_EPOCH) and os.environ["RANK"] == "1":
        os._exit(9)
    begin_epoch(self, epoch)


if __name__ == "__main__":
    checkpoint.INTERVAL = 0.0
    Network.begin_epoch = begin_or_die  # type: ignore[method-assign]
    raise SystemExit(main(sys.argv[1:]))
