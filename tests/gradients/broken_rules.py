"""A rule that is wrong, in the place of the right one."""

import contextlib

from batchscope.gradients.rules import RULES


@contextlib.contextmanager
def broken_rule(function, factor):
    """A rule whose gradients are off by `factor`."""
    rule = RULES[function]

    def wrong(grad, *args, **kwargs):
        yield from rule.function(grad * factor, *args, **kwargs)

    RULES[function] = type(rule)("wrong", wrong, rule.examples, rule.reads_inputs)
    try:
        yield
    finally:
        RULES[function] = rule
