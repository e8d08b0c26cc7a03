"""Each run of the tests is the same run: examples, ids and jitter; `./dev fuzz` draws anew."""

import ast
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.core.result import Ok

from tests.conftest import FIXED, FUZZ, ROOT
from tests.support.ids import new_id

OWN = Path(__file__).relative_to(ROOT).as_posix()
FILES = {
    path.relative_to(ROOT).as_posix(): ast.parse(path.read_text())
    for path in sorted((ROOT / "tests").rglob("*.py"))
}
# Names of databases and folders on a shared machine, and keys: no test's course hangs on them.
FREE_TO_CHANCE = {
    "tests/conftest.py", "tests/tooling/fuzz.py", "tests/lab/recall.py", "tests/lab/stack/demo.py",
    "tests/lab/sender/signing.py", "tests/bench/environment.py",
}  # fmt: skip
SOURCES = ("random", "uuid", "secrets", "os")
OF_THE_PROFILE = {"derandomize", "database", "deadline", "print_blob", "phases"}
DRAWN_ANEW = {"uuid1", "uuid4", "urandom", "SystemRandom", "getrandbits", "randbytes", "randint",
              "randrange", "choice", "choices", "shuffle", "sample", "uniform", "token_hex",
              "token_bytes", "token_urlsafe"}  # fmt: skip
A_QUERY = {
    "openapi": "3.0.3",
    "info": {"title": "a", "version": "1"},
    "paths": {
        "/a": {
            "get": {
                "parameters": [{"name": "q", "in": "query", "schema": {"type": "string"}}],
                "responses": {"200": {"description": "ok"}},
            }
        }
    },
}


def calls(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    """Each call in a file, with the name of what is called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def imported_chance(tree: ast.Module) -> Iterator[str]:
    """The names of what draws that a file imports by themselves."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in SOURCES:
            yield from (alias.name for alias in node.names if alias.name in DRAWN_ANEW)


def test_nothing_in_a_test_is_left_to_chance() -> None:
    """Each random number comes from a seed, each id from the test's own row."""
    for path, tree in FILES.items():
        if path in FREE_TO_CHANCE:
            continue
        assert list(imported_chance(tree)) == [], path
        for name, call in calls(tree):
            before, _, last = name.rpartition(".")
            assert last != "Random" or call.args, f"{path}:{call.lineno} needs a seed"
            assert before not in SOURCES or last not in DRAWN_ANEW, f"{path}:{call.lineno}"


def test_no_test_chooses_its_own_chance() -> None:
    """The profile says whether examples are drawn anew, and keeps none from the run before."""
    for path, tree in FILES.items():
        for name, call in calls(tree):
            given_here = {word.arg for word in call.keywords}
            assert name != "settings" or not given_here & OF_THE_PROFILE, f"{path}:{call.lineno}"


def test_every_test_that_draws_is_one_that_fuzz_runs() -> None:
    """Hypothesis marks its own; one that draws inside is marked by hand."""
    for path, tree in FILES.items():
        top = [one for one in tree.body if isinstance(one, ast.FunctionDef)]
        all_of_them = [one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef)]
        inner = [one for one in all_of_them if one not in top and decorated(one, "given(")]
        marked = [one for one in top if decorated(one, "pytest.mark.hypothesis")]
        assert len(marked) >= len(inner) or path == OWN, path


def decorated(function: ast.FunctionDef, by: str) -> bool:
    """Whether a function is decorated by this."""
    return any(ast.unparse(one).startswith(by) for one in function.decorator_list)


def drawn() -> list[str]:
    """What forty examples are, of ours and of a description's."""
    schema = schemathesis.openapi.from_dict(A_QUERY)
    (operation,) = (found.ok() for found in schema.get_all_operations() if isinstance(found, Ok))
    seen: list[str] = []

    @settings(max_examples=40, suppress_health_check=list(HealthCheck))
    @given(st.text(), operation.as_strategy())
    def look(text: str, case: schemathesis.Case[Any]) -> None:
        seen.append(f"{text!r} {dict(case.query or {})!r}")

    look()
    return seen


@pytest.mark.skipif(
    settings.get_current_profile_name() == FUZZ, reason="these are to be drawn anew"
)
def test_examples_are_the_same_in_every_process() -> None:
    """Whatever seeds Python's hashes, and however often they are drawn."""
    assert settings.get_current_profile_name() == FIXED
    first = drawn()
    assert drawn() == first
    assert len(first) == 40
    # Which constants of ours are tried hangs on the modules that are loaded: the same in both.
    program = "from tests.tooling.test_same_each_time import drawn; print(drawn())"
    said = [
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={"PYTHONHASHSEED": salt},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for salt in ("1", "2")
    ]
    assert said[0] == said[1]


def test_ids_and_jitter_begin_anew_with_each_test(request: pytest.FixtureRequest) -> None:
    """The first of this test, whichever ran before it."""
    own = request.node.nodeid
    expected = UUID(int=random.Random(own).getrandbits(128), version=4)
    assert (new_id(), random.random()) == (str(expected), random.Random(own).random())
