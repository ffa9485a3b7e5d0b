"""``python -m batchscope``, and ``torchrun ... -m batchscope``: the command line."""

from batchscope.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
