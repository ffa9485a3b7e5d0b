"""Where parameters meet examples: a traced forward pass and the axis of the examples in it."""
