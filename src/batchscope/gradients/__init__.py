"""What the gradients of a model say about its batch size: moments, estimands, intervals."""
