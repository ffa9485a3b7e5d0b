"""The site: builds without a warning, finds its links, reads docstrings as they are meant."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    pytest.importorskip("mkdocs_jupyter")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT / "src")}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return out


@pytest.mark.system
def test_the_site_builds_without_a_warning_and_its_pages_have_their_content(site):
    page = (site / "index.html").read_text()
    assert "Wide or deep" in page
    assert 'src="figures/figure3b.png"' in page
    assert (site / "figures/figure3b.png").exists()
    assert "(docs/" not in page
    reference = (site / "reference/index.html").read_text()
    for name in ("measure", "observe", "batch_threshold", "TimeModel", "Study"):
        assert f">{name}</span>" in reference or f"{name}</code>" in reference or f'"{name}"' in reference, name
    assert "batchscope run" in (site / "commands/index.html").read_text()
    assert "holds" in (site / "REPRODUCTION/index.html").read_text()
    assert not list(site.rglob("*.py"))


@pytest.mark.system
def test_nothing_on_the_site_is_loaded_from_elsewhere(site):
    for page in site.rglob("*.html"):
        text = page.read_text()
        for tag in ('<script src="http', '<link rel="stylesheet" href="http', '<img src="http'):
            assert tag not in text, f"{page.name}: {tag}"


def docstrings():
    pytest.importorskip("griffe")
    spec = importlib.util.spec_from_file_location("docstrings", ROOT / "docs/docstrings.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_docstrings_become_lists_and_fenced_examples():
    text = "Sum.\n\nx: a number, in\n    seconds: not minutes.\ny, z: two more.\n\n>>> 1 + 1\n2\n\nAfter."
    assert docstrings().markdown(text) == (
        "Sum.\n\n* **x**: a number, in seconds: not minutes.\n* **y, z**: two more.\n\n"
        "```pycon\n>>> 1 + 1\n2\n```\n\nAfter."
    )


def test_prose_with_a_colon_is_left_alone():
    text = "Returns a ratio. For example: one half.\nSecond line."
    assert docstrings().markdown(text) == text
