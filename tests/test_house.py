"""What CONTRIBUTING.md asks of the code as a whole, read from its syntax trees."""

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Container, Iterator
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
DRAWS = {"randn", "rand", "randint", "randperm", "normal"}
SOURCES = sorted((ROOT / "src").rglob("*.py"))


def nodes() -> Iterator[tuple[Path, ast.AST]]:
    """Every node of every file of the package, with its file."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            yield path, node


def test_no_two_classes_share_a_name():
    """In integrations/ every file is the same thing for another library, under the same name."""
    places = defaultdict(list)
    for path, node in nodes():
        if isinstance(node, ast.ClassDef) and path.parent.name != "integrations":
            places[node.name].append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert len(places) > 200
    assert not {name: found for name, found in places.items() if len(found) > 1}


def test_file_names_say_more_than_their_kind():
    """A name may stand in two rooms (a command and what it runs), not in three."""
    names = Counter(path.name for path in SOURCES if path.name != "__init__.py")
    assert not {name for name, count in names.items() if count > 2}


def test_files_import_each_other_in_one_direction():
    """No circle, neither through imports inside functions nor through those for types alone."""
    files = {".".join(path.relative_to(ROOT / "src").with_suffix("").parts): path for path in SOURCES}
    files = {name.removesuffix(".__init__"): path for name, path in files.items()}
    imported = defaultdict(set)
    for path, node in nodes():
        imported[path] |= {files[name] for name in _names(node, files)} - {path}
    list(TopologicalSorter(imported).static_order())  # CycleError names the files of a circle


def _names(node: ast.AST, files: Container[str]) -> Iterator[str]:
    """The modules of the package that an import statement takes names from."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name in files)
    if isinstance(node, ast.ImportFrom):
        for alias in node.names:
            yield from [name for name in (f"{node.module}.{alias.name}", node.module) if name in files][:1]


def test_everything_public_says_what_it_is():
    """A method that overrides a documented one of a class of ours has its words."""
    classes = {node.name: node for _, node in nodes() if isinstance(node, ast.ClassDef)}
    found = {path: list(_undocumented(ast.parse(path.read_text()), classes)) for path in SOURCES}
    assert not {path.name: names for path, names in found.items() if names}


def _undocumented(owner: ast.Module | ast.ClassDef, classes: dict[str, ast.ClassDef]) -> Iterator[str]:
    """The public functions and classes of a file or a class, and the methods of these, that have no docstring."""
    for node in owner.body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        is_overload = any(ast.unparse(decorator) == "overload" for decorator in node.decorator_list)
        if not (ast.get_docstring(node) or is_overload or _is_inherited(owner, node.name, classes)):
            yield node.name
        if isinstance(node, ast.ClassDef):
            yield from _undocumented(node, classes)


def _is_inherited(owner: ast.Module | ast.ClassDef, name: str, classes: dict[str, ast.ClassDef]) -> bool:
    bases = [ast.unparse(base) for base in owner.bases] if isinstance(owner, ast.ClassDef) else []
    ours = [classes[base] for base in bases if base in classes]
    return any(_documents(base, name) or _is_inherited(base, name, classes) for base in ours)


def _documents(owner: ast.ClassDef, name: str) -> bool:
    methods = (node for node in owner.body if isinstance(node, ast.FunctionDef) and node.name == name)
    return any(ast.get_docstring(node) for node in methods)


def test_docstrings_call_functions_that_exist():
    """`name()` in a docstring is a function or method of the package, or of the libraries that are named here."""
    ours = {node.name for _, node in nodes() if isinstance(node, ast.FunctionDef)} | {"squeeze"}
    called = [
        (path.name, name)
        for path, node in nodes()
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        for name in re.findall(r"`(?:\w+\.)*(\w+)\(\)`", ast.get_docstring(node) or "")
    ]
    assert len(called) > 5
    assert not [one for one in called if one[1] not in ours]


def test_no_test_takes_from_another_test():
    """What several of them need stands in a file of its own; it would be collected twice, and move with its tests."""
    for path in sorted((ROOT / "tests").rglob("*.py")):
        imports = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        assert not [node.module for node in imports if re.search(r"^tests\b.*\.test_", node.module or "")], path.name


def test_no_test_draws_random_numbers_while_it_is_imported():
    """What it would draw then depends on the files before it; a fixture seeds torch before each test."""
    found = []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for call in _calls_at_import(ast.parse(path.read_text())):
            name = ast.unparse(call.func).rpartition(".")[2]
            if name in DRAWS and "generator" not in {keyword.arg for keyword in call.keywords}:
                found.append(f"{path.relative_to(ROOT)}:{call.lineno}")
    assert not found


def _calls_at_import(node: ast.AST) -> Iterator[ast.Call]:
    """The calls below a node that are made when its file is imported."""
    if isinstance(node, ast.Call):
        yield node
    body = node.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) else []
    for child in ast.iter_child_nodes(node):
        if child not in (body if isinstance(body, list) else [body]):
            yield from _calls_at_import(child)
