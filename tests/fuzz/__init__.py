"""Odd study files, data files and stores, given to the commands: every refusal must be the library's own error.

``python -m tests.fuzz --n 5000`` tries so many, seeded, and prints what escaped; 300 are in the default suite.
"""
