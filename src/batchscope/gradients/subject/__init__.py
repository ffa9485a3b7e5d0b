"""What is measured: a model, its loss, its batches, its choice for BatchNorm."""
