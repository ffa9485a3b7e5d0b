"""Every public function of the theory room states its example, the examples run, and nothing imports torch."""

import doctest
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys

import pytest

import batchscope.theory

MODULES = [f"batchscope.theory.{module.name}" for module in pkgutil.iter_modules(batchscope.theory.__path__)]
PAPERS = ("chen2018", "yin2018", "mccandlish2018")


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("paper", PAPERS)
def test_every_public_function_has_a_runnable_example_and_says_what_it_is_worth(paper):
    module = importlib.import_module(f"batchscope.theory.{paper}")
    public = [getattr(module, name) for name in getattr(module, "__all__", vars(module)) if not name.startswith("_")]
    functions = [f for f in public if inspect.isfunction(f) and f.__module__.startswith("batchscope.theory")]
    functions = [f for f in functions if f.__module__ != "batchscope.theory.network"]
    assert len(functions) >= 6
    for function in functions:
        assert ">>> " in function.__doc__, function.__name__
        assert re.search("[Ss]tanding|Source|inverse of", function.__doc__), function.__name__


def test_theory_never_imports_torch():
    code = "import sys, batchscope.theory; import batchscope.theory.chen2018; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
