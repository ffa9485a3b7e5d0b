"""Definitions of B*, one file for each kind: importing the package registers them in DEFINITIONS.

To add one: a file with a function from (sweep, its number, `Request`) to a `ThresholdEstimate`, decorated by `define`,
and its line below.
"""

from batchscope.analysis.definitions import b_crit as b_crit
from batchscope.analysis.definitions import mean_diversity as mean_diversity
from batchscope.analysis.definitions import slow_downs as slow_downs
from batchscope.analysis.definitions import within as within
from batchscope.analysis.definitions.definition import DEFINITIONS, Definition, describe, parse_definition

__all__ = ["DEFINITIONS", "Definition", "describe", "parse_definition"]
