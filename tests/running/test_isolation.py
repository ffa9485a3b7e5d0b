"""Workers take nothing from the current directory but the user's own code that a study names."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from batchscope.errors import InputError
from batchscope.importing import import_object, module_path, safe_environment

STUDY = """
name = "isolated"
dataset = "digits"
num_examples = 30
family = "own_nets:Wide"
shapes = [[1, 3]]
batch_sizes = [10]
target = { train_accuracy = 1.0 }
max_epochs = 1
num_seeds = 1
step_sizes = { min = 0.05, max = 0.05 }
"""
OWN = """
from batchscope.architectures import Family

class Wide(Family):
    def module(self, net):
        from own_layers import layers  # late, from the same folder
        return layers(net)
"""
LAYERS = """
from torch import nn

def layers(net):
    return nn.Sequential(nn.Flatten(), nn.Linear(net.d_in, net.width), nn.ReLU(), nn.Linear(net.width, net.d_out))
"""
TRAP = "open('executed', 'a').write(__name__)"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current directory with a study, its family, and files that are named like modules of Python."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name, text in {"study.toml": STUDY, "own_nets.py": OWN, "own_layers.py": LAYERS}.items():
        (tmp_path / name).write_text(text)
    for name in ("operator", "types", "json", "random", "torch", "calendar"):
        (tmp_path / f"{name}.py").write_text(TRAP)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.system
def test_a_family_in_the_current_directory_trains_in_workers_that_execute_nothing_else_there(folder):
    command = [sys.executable, "-P", "-m", "batchscope", "run", "study.toml", "--out", "out", "--workers", "1"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0), done.stderr
    assert "1 trials in out" in done.stdout
    assert not (folder / "executed").exists()


def test_a_module_named_in_a_study_is_taken_from_here_and_what_it_imports_from_python(folder):
    (folder / "own_names.py").write_text("import calendar\nfrom own_layers import layers\nname = calendar.__file__")
    sys.modules.pop("calendar", None)
    found = import_object("own_names:name", "family")
    assert Path(found).parent != folder
    assert sys.path[-1] == str(folder)
    assert not (folder / "executed").exists()


@pytest.mark.system
def test_the_current_directory_is_searched_last_and_only_where_something_came_from_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", str(tmp_path), *sys.path])
    assert {"", str(tmp_path)}.isdisjoint(module_path())
    (tmp_path / "own_module_of_this_test.py").write_text("name = 1")
    import_object("own_module_of_this_test:name", "family")
    assert module_path()[-1] == str(tmp_path)
    assert "" not in module_path()
    sys.modules.pop("own_module_of_this_test")


def test_a_module_that_fails_here_is_not_half_imported(folder):
    (folder / "own_broken.py").write_text("name = 1\nraise ValueError('half way')")
    for _ in range(2):
        with pytest.raises(InputError, match="importing 'own_broken' raised ValueError: half way"):
            import_object("own_broken:name", "family")


@pytest.mark.parametrize(("given", "kept"), [("", ""), (os.pathsep, ""), (f".{os.pathsep}/a{os.pathsep}", "/a")])
def test_an_empty_entry_of_pythonpath_which_means_the_current_directory_is_left_out(monkeypatch, given, kept):
    monkeypatch.setenv("PYTHONPATH", given)
    assert safe_environment()["PYTHONPATH"] == kept
