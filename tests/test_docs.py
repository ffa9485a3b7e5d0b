"""What the documents show runs: Python blocks and notebooks top to bottom, commands and study files as they stand."""

import contextlib
import io
import json
import re
import shlex
from pathlib import Path

import pytest

from batchscope.cli.main import build_parser
from batchscope.studies import Study
from batchscope.studies.outline import outline

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NOTEBOOKS = sorted((ROOT / "docs/notebooks").glob("*.ipynb"))
EMBEDDED = ("digits", "synthetic")
OUTPUT = re.compile(r"\n\n(?:[^\n`]*:\n\n)?```(?:text)?\n(.*?)^```", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"\d+(?:\.\d+)?")
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of one language in a page."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_run_and_print_what_is_shown(page, tmp_path, monkeypatch):
    """A block of no language after a Python block, or after a line of words, is its output: numbers within 5 %."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)  # a script finds the modules beside it
    text = page.read_text()
    namespace: dict[str, object] = {"__name__": "docs"}
    for block in BLOCK.finditer(text):
        line = text.count("\n", 0, block.start()) + 1
        code = compile("\n" * line + block.group(1), str(page), "exec")
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(code, namespace)
        shown = OUTPUT.match(text, block.end())
        if shown and printed.getvalue():  # what needs a package that is not installed prints nothing
            assert NUMBER.sub("#", printed.getvalue()) == NUMBER.sub("#", shown.group(1))
            pairs = zip(NUMBER.findall(printed.getvalue()), NUMBER.findall(shown.group(1)), strict=True)
            assert all(float(a) == pytest.approx(float(b), rel=0.05) for a, b in pairs)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_exist(page):
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


TOPS = ["src", "tests", "benchmarks", "reproduction", "batchscope"]
TOPS += [path.name for path in (ROOT / "src/batchscope").iterdir() if (path / "__init__.py").exists()]
FILE = re.compile(rf"(?<![\w/.])(?:(?:{'|'.join(TOPS)})/)(?:\w+/)*\w+\.py\b")


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name)
def test_files_of_code_that_pages_name_exist(page):
    places = (ROOT, ROOT / "src", ROOT / "src/batchscope")
    named = FILE.findall(page.read_text())
    assert not [name for name in named if not any((place / name).is_file() for place in places)]


@pytest.mark.system
@pytest.mark.parametrize("page", NOTEBOOKS, ids=lambda page: page.name)
def test_notebooks_run_and_were_saved_with_their_output(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cells = [cell for cell in json.loads(page.read_text())["cells"] if cell["cell_type"] == "code"]
    assert all(cell["execution_count"] for cell in cells)
    assert not [output for cell in cells for output in cell["outputs"] if output["output_type"] == "error"]
    namespace: dict[str, object] = {"__name__": "notebook"}
    with contextlib.redirect_stdout(io.StringIO()):
        for number, cell in enumerate(cells):
            exec(compile("".join(cell["source"]), f"{page.name}[{number}]", "exec"), namespace)


COMMANDS = [
    (page, line.split("  #")[0].strip())
    for page in PAGES
    for block in blocks(page, "sh")
    for line in block.replace("\\\n", " ").splitlines()
    if line.startswith("batchscope ")
]


@pytest.mark.parametrize(("page", "line"), COMMANDS, ids=[f"{page.name}: {line}" for page, line in COMMANDS])
def test_every_command_shown_is_one_that_exists(page, line):
    words = shlex.split(line)[1:]
    build_parser(words[0]).parse_args(words)  # exits where a command or an option is unknown


STUDIES = [(page, block) for page in PAGES for block in blocks(page, "toml") if "dataset" in block and "name" in block]


@pytest.mark.parametrize(("page", "text"), STUDIES, ids=[page.name for page, _ in STUDIES])
def test_study_files_shown_can_be_planned(page, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for block in blocks(page, "python"):
        if '.py").write_text(' in block:  # a module that the study names
            exec(block, {})
    study = Study.from_toml(text)
    assert study.dataset not in EMBEDDED or outline(study, workers=2)


def test_there_are_study_files_to_plan():
    assert len(STUDIES) >= 3
