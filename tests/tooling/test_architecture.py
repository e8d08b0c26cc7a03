"""The rules of the house that nobody re-reads: kept here, so that nobody has to."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from statistics import mean
from typing import TypeGuard

import pytest

ROOT = Path(__file__).parents[2]
OURS = ("models", "workers", "webhook")
MAY_IMPORT = {"models": set(), "workers": {"models"}, "webhook": {"models", "workers"}}
# Who may import whom within a package: lower ranks first, and nobody from its own rank.
LAYERS: dict[str, tuple[set[str], ...]] = {
    "models": ({"settings"}, {"core"}, {"tables"}, {"queries"}),
    "workers": (
        {"db", "queue", "rate_limits"},
        {"outbox"},
        {"recall_api"},
        {"privacy"},
        {"calendar_tokens", "recordings"},
        {"linking", "events"},
        {"reconcile", "calendars", "alerts"},
        {"processes"},
    ),
    "webhook": (
        {"web", "receiver"},
        {"services", "calendar"},
        {"api", "console", "monitoring", "doctor"},
        {"app", "cli"},
        {"serving"},
    ),
}
# Entrances, and the request to stop that everything hears.
FREE = {"", "__main__", "shutdown"}
HOMES: dict[str, tuple[str, ...]] = {
    "flask": ("webhook",),
    "waitress": ("webhook.serving",),
    "rq": ("workers.queue", "workers.processes"),
    "httpx": ("workers.recall_api",),
    "httpcore": ("workers.recall_api",),
}
MOST_MODULES = 22
MOST_LINES = 200
MOST_FUNCTION, MOST_MEAN = 45, 11.0


def modules(*folders: str) -> list[Path]:
    """Every Python file of these folders."""
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


@cache
def tree(path: Path) -> ast.Module:
    """A file's syntax tree."""
    return ast.parse(path.read_text())


def name_of(path: Path) -> str:
    """A file's module name."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """The modules a file imports, and the level of each import (0 is absolute)."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, 0) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "", node.level
            yield from ((f"{node.module}.{alias.name}", node.level) for alias in node.names)


def room_of(module: str) -> str:
    """The folder of a package that a module stands in, or the module's own name beside them."""
    return [*module.split("."), ""][1]


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """A file's functions, inner ones as well."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def code_lines(path: Path) -> list[str]:
    """A file's lines that are neither empty nor a comment."""
    lines = [line.strip() for line in path.read_text().splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def test_the_import_law_is_kept() -> None:
    """Models → nothing of ours; workers → models; webhook → both; never the other way."""
    for path in modules(*OURS):
        package = path.relative_to(ROOT).parts[0]
        allowed = MAY_IMPORT[package] | {package}
        for name, level in imports(path):
            assert level == 0, f"{path} imports relatively"
            top = name.partition(".")[0]
            assert top not in {*OURS, "migrations", "tests"} - allowed, f"{path} imports {name}"


def test_the_lab_imports_nothing_of_ours() -> None:
    """It signs and answers with its own code, so that a shared bug cannot hide."""
    for path in modules("tests/lab"):
        for name, _ in imports(path):
            assert name.partition(".")[0] not in {*OURS, "migrations"}, f"{path} imports {name}"


def test_a_folder_imports_only_from_those_below_it() -> None:
    """Each rank of LAYERS from the ranks above it in the table, and never from its own."""
    for package, layers in LAYERS.items():
        rank = {name: height for height, layer in enumerate(layers) for name in layer}
        for path in modules(package):
            room = room_of(name_of(path))
            for name, _ in imports(path):
                other = room_of(name)
                if name.startswith(f"{package}.") and other != room and other in rank:
                    assert rank[other] < rank.get(room, len(layers)), f"{path} imports {name}"


def test_every_folder_has_its_place_in_the_law() -> None:
    """A new folder is ranked before it is used."""
    for package, layers in LAYERS.items():
        found = {room_of(name_of(path)) for path in modules(package)}
        ranked = {name for layer in layers for name in layer}
        assert found - ranked <= FREE, package
        assert ranked <= found, package


def test_libraries_live_where_they_belong() -> None:
    """Flask faces people and senders, RQ and httpx what happens later, each in its own rooms."""
    for path in modules(*OURS):
        here = name_of(path)
        for name, _ in imports(path):
            homes = HOMES.get(name.partition(".")[0])
            assert homes is None or here.startswith(homes), f"{path} imports {name}"


def test_no_private_name_of_another_is_used() -> None:
    """Of a library, any release may drop it; of ours, it says where not to reach."""
    for path in modules(*OURS):
        # waitress alone is excepted.
        if "serving" not in path.parts:
            found = [node for node in ast.walk(tree(path)) if _is_anothers(node)]
            assert not found, f"{path}:{found[0].lineno} {found[0].attr}"


def _is_anothers(node: ast.AST) -> TypeGuard[ast.Attribute]:
    if not isinstance(node, ast.Attribute) or not re.match(r"_[a-z]", node.attr):
        return False
    # The one way to end a process at once has such a name, and is documented.
    return ast.unparse(node) != "os._exit" and ast.unparse(node.value) not in ("self", "cls")


def test_no_import_is_inside_a_function() -> None:
    """What a module needs stands at its head."""
    for path in modules(*OURS, "tests", "migrations"):
        for function in functions(path):
            inner = [n for n in ast.walk(function) if isinstance(n, ast.Import | ast.ImportFrom)]
            assert not inner, f"{path}:{function.lineno} imports inside {function.name}"


def test_no_modules_import_each_other_in_a_circle() -> None:
    """The graph of our modules can be laid out in one direction."""
    names = {name_of(path) for path in modules(*OURS)}
    graph = {
        name_of(path): {name for name, _ in imports(path) if name in names}
        for path in modules(*OURS)
    }
    while graph:
        leaves = {name for name, targets in graph.items() if not targets - {name}}
        assert leaves, f"a circle among {sorted(graph)}"
        graph = {name: targets - leaves for name, targets in graph.items() if name not in leaves}


def test_importing_everything_opens_and_starts_nothing() -> None:
    """No connection, no thread, no process, no file written: resources are made at an entrance."""
    names = [name_of(path) for path in modules(*OURS) if path.name != "__main__.py"]
    script = f"""
import sys, threading
touched = []
def hook(event, arguments):
    if event in ("socket.connect", "sqlite3.connect", "subprocess.Popen", "os.fork"):
        touched.append(event)
    # The interpreter writes its own .pyc files by descriptor.
    if event == "open" and isinstance(arguments[0], str) and set(arguments[1] or "") & set("wax+"):
        touched.append(f"open {{arguments[0]}}")
sys.addaudithook(hook)
for name in {names!r}:
    __import__(name)
assert not touched, touched
assert threading.active_count() == 1
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_packages_init_holds_words_alone() -> None:
    """Globals in an `__init__` grow into knots."""
    for path in [path for path in modules(*OURS) if path.name == "__init__.py"]:
        (only,) = tree(path).body
        assert isinstance(only, ast.Expr)


def test_folders_files_and_functions_are_small() -> None:
    """At most 22 modules a folder, 200 lines of code a file, 45 a function and 11 in the mean."""
    for folder in {path.parent for path in modules(*OURS)}:
        count = len([path for path in folder.glob("*.py") if path.name != "__init__.py"])
        assert count <= MOST_MODULES, f"{folder} holds {count} modules"
    for path in modules(*OURS, "tests/lab", "migrations"):
        assert len(code_lines(path)) <= MOST_LINES, f"{path} holds two things"
    sizes = [_size(function) for path in modules(*OURS) for function in functions(path)]
    assert mean(sizes) <= MOST_MEAN
    assert max(sizes) <= MOST_FUNCTION
    assert sorted(sizes)[int(len(sizes) * 0.9)] <= 26


def _size(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    words = ast.get_docstring(function)
    lines = (function.end_lineno or 0) - function.lineno + 1
    return lines - (len(words.splitlines()) if words else 0)


def test_comments_are_few_and_there() -> None:
    """They say why: more of them explain code that should be clearer, fewer leave it to guesses."""
    lines = [line.strip() for path in modules(*OURS) for line in path.read_text().splitlines()]
    comments = sum(line.startswith("#") for line in lines)
    share = comments / sum(len(code_lines(path)) for path in modules(*OURS))
    assert 0.04 <= share <= 0.08


@pytest.mark.parametrize("path", modules("tests"), ids=lambda path: path.name)
def test_every_test_promises_something_in_one_line(path: Path) -> None:
    """Its name is a sentence, its docstring says what is promised."""
    for function in functions(path):
        if function.name.startswith("test_"):
            assert ast.get_docstring(function), f"{path.name}: {function.name}"
            assert function.name.count("_") >= 3, f"{path.name}: {function.name} is no sentence"
