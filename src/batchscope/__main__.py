"""``python -m batchscope``: the command line."""

import os
import sys

# Started so, Python looks for modules in the current directory first: a file there that is named like one of Python's
# own or of a library would be executed in its place. Here it comes last, as in workers (see importing.py).
if not sys.flags.safe_path and sys.path[:1] == [os.getcwd()]:
    sys.path.append(sys.path.pop(0))

from batchscope.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
