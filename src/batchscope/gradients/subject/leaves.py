"""Inputs, outputs and targets as trees: nested tuples, lists, dicts and dataclasses with tensors among their leaves."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor


def map_leaves(function: Callable[[Any], Any], tree: Any) -> Any:
    """Apply `function` to every leaf of nested tuples, lists, dicts and dataclasses."""
    if isinstance(tree, Tensor):
        return function(tree)
    if isinstance(tree, Mapping):
        return {key: map_leaves(function, value) for key, value in tree.items()}
    if isinstance(tree, tuple | list):
        leaves = [map_leaves(function, value) for value in tree]
        if hasattr(tree, "_fields"):  # a named tuple, a packed sequence among them
            return type(tree)(*leaves)
        return leaves if isinstance(tree, list) else tuple(leaves)
    if _is_record(tree):
        mapped = copy.copy(tree)
        for field in dataclasses.fields(tree):
            object.__setattr__(mapped, field.name, map_leaves(function, getattr(tree, field.name)))
        return mapped
    return function(tree)


def leaves_of(tree: Any) -> Iterator[Any]:
    """Every leaf of nested tuples, lists, dicts and dataclasses, in order."""
    if isinstance(tree, Tensor):
        yield tree
        return
    if isinstance(tree, Mapping):
        tree = list(tree.values())
    elif _is_record(tree):
        tree = [getattr(tree, field.name) for field in dataclasses.fields(tree)]
    if isinstance(tree, tuple | list):
        for value in tree:
            yield from leaves_of(value)
    else:
        yield tree


def _is_record(tree: Any) -> bool:
    return dataclasses.is_dataclass(tree) and not isinstance(tree, type)
