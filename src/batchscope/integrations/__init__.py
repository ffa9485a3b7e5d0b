"""Callbacks for the trainers people have: each in its own file, which imports its trainer, and nothing else does."""
