"""How large the numbers of a study may be, each with its reason. Checked before anything is built.

The bounds are far beyond what can be trained, and keep three promises: what `plan` accepts `run` can store (64 bits a
number), planning takes seconds, and a message about a study fits a screen. Those of options are in options.py.
"""

from __future__ import annotations

LARGEST_FILE = 1 << 20  # bytes of a study file: one of every key takes 2 kB, and parsing takes a second per megabyte
LONGEST_NAME = 200  # characters; names are lines of tables, and parts of file names
LONGEST_PATH = 4096  # characters, as Linux has it
MOST_ENTRIES = 1000  # of a list: each batch size or shape is at least a run
MOST_LAYERS = 1_000_000  # over all cells: planning looks at each, at about a microsecond
MOST_SEEDS = 100_000  # runs of a cell, which train together
LARGEST_SEED = 2**53  # with the number of a run added it fits the store's integers, and JSON keeps it exactly
MOST_EXAMPLES = 10**9  # with the bounds of epochs and passes, every count of steps fits the store's integers
SMALLEST_STEP, LARGEST_STEP = 1e-12, 1e12  # float32 tells no smaller change of a weight of 1e-5; widened, still finite
LARGEST_RATIO = 1e9  # widened by eight steps, a step size is still a number
LARGEST_COUNT = 2**63 - 1  # of parameters and multiplications: the store's integers
PROBLEMS_SHOWN = 5
