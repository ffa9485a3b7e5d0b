"""What a model consists of at an observed call, from one walk over its modules: of small networks, walks cost."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Walk:
    """modules: of a model, itself included. parameters: each once, in their order."""

    modules: list[nn.Module]
    parameters: list[nn.Parameter]

    @classmethod
    def over(cls, model: nn.Module) -> Walk:
        """Of the model as it is now: modules and parameters may come and go."""
        modules = list(model.modules())
        found = {id(p): p for module in modules for p in module._parameters.values() if p is not None}
        return cls(modules, list(found.values()))
