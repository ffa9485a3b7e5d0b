"""``python -m batchscope``, and ``torchrun ... -m batchscope``: the command line."""

from batchscope.cli.main import main

raise SystemExit(main())
