"""Rules: for each torch function that takes parameters, the per-example gradients its backward pass leaves us with.

A rule is one decorated function. It takes the gradient of the call's output and the call's own arguments, everything
that depends on examples in split form [N, ...one example's batch of one] (see tracing/example_axis.py), parameters as
nn.Parameter, and yields pairs (parameter argument, Use). To add a layer, write one such function, then
`conformance.check_rule` it.

A rewrite replaces a fused function by simpler ones that have rules (LSTM, multi-head attention). A replacement computes
a call and its whole backward pass itself, where the library's backward kernel can give the per-example gradients for
nothing (normalisation layers); the rule remains for the cases it declines.
"""

from batchscope.gradients.rules import attention as attention
from batchscope.gradients.rules import convolution as convolution
from batchscope.gradients.rules import elementwise as elementwise
from batchscope.gradients.rules import embedding as embedding
from batchscope.gradients.rules import fused_normalisation as fused_normalisation
from batchscope.gradients.rules import matrix_product as matrix_product
from batchscope.gradients.rules import normalisation as normalisation
from batchscope.gradients.rules import recurrent as recurrent
from batchscope.gradients.rules import shapes as shapes
from batchscope.gradients.rules.rule import REPLACEMENTS, REWRITES, RULES, Rule, Uses, rule, sum_positions

__all__ = ["REPLACEMENTS", "REWRITES", "RULES", "Rule", "Uses", "rule", "sum_positions"]
