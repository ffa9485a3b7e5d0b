"""Fully-connected networks trained many at a time, as stacked tensors."""
