"""One backward pass with norms: capture, collection, choice of kernels, audit."""
