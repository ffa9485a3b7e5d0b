"""The package as a whole: imports stay light."""

import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import batchscope


def test_importing_batchscope_and_its_records_does_not_import_torch():
    code = "import sys, batchscope, batchscope.records.row, batchscope.cli.main; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.system
def test_first_use_of_a_public_name_leaves_the_random_state_alone():
    code = (
        "import random, sys, batchscope; before = random.getstate(); batchscope.observe, batchscope.measure; "
        "batchscope.report, batchscope.training.train_cohort, batchscope.architectures.build; "
        "sys.exit(random.getstate() != before)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("package", ["", ".gradients", ".training", ".architectures"])
def test_a_name_that_is_not_there_is_refused_as_python_does(package):
    name = f"batchscope{package}"
    with pytest.raises(AttributeError, match=rf"module '{name}' has no attribute 'measured'"):
        importlib.import_module(name).measured  # noqa: B018 - the looking is the test


@pytest.mark.system
def test_only_the_callbacks_import_a_trainer():
    code = (
        "import sys, batchscope; batchscope.observe, batchscope.schedule; "
        "sys.exit(any(name in sys.modules for name in ('lightning', 'transformers', 'batchscope.integrations')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_typed_and_versioned_alike():
    root = Path(batchscope.__file__).parent
    assert (root / "py.typed").exists()
    project = tomllib.loads((root.parents[1] / "pyproject.toml").read_text())["project"]
    assert project["version"] == batchscope.__version__
    named = (root.parents[1] / "README.md").read_text()
    for extra in set(project["optional-dependencies"]) - {"dev", "bench"}:
        assert f"[{extra}]" in named, f"README does not say what batchscope[{extra}] is for"


def test_the_help_imports_neither_numpy_nor_any_command():
    code = (
        "import sys; from batchscope.cli.main import build_parser; build_parser(None).format_help(); "
        "print(sorted(name for name in sys.modules if name in ('numpy', 'torch', 'scipy', 'pydantic', 'rich')))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
