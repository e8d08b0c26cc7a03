"""Hostile JSON: values nobody should send, and documented bodies with any part of them changed."""

import copy
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

# What has broken a parser, a column, a URL, a log or a page before.
ODD_TEXTS = (
    "",
    " ",
    "\x00",
    "a\x00b",
    "\ud800",
    "\udfff\ud800",
    "\U0001f600" * 1001,
    "\u202eevil\u202c",
    "line\nforged\r\n",
    "\x1b[2J",
    "\u2028\u2029\x85",
    "../../admin",
    "..",
    "?x=1#y",
    "%2e%2e%2f",
    "http://169.254.169.254/latest",
    "' OR 1=1 --",
    "<script>alert(1)</script>",
    "=HYPERLINK(1)",
    "{0}%s%(x)s{{7*7}}",
    "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59.999999Z",
    "9999-12-31T23:59:59.999999-14:00",
    "2026-11-20T10:00:00+23:59:59.999999",
    "x" * 70_000,
)
ODD_NUMBERS = (0, -1, 10**18, -(2**63) - 1, 2**64, 10**400, 1e308, -0.0, float("inf"), float("nan"))

Path = tuple[str | int, ...]

texts = st.sampled_from(ODD_TEXTS) | st.text(max_size=20)
scalars = st.none() | st.booleans() | st.sampled_from(ODD_NUMBERS) | st.floats() | texts
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)


def paths(tree: object, here: Path = ()) -> list[Path]:
    """Every place in a JSON value, the whole of it first."""
    found = [here]
    if isinstance(tree, dict):
        found += [path for key, value in tree.items() for path in paths(value, (*here, key))]
    if isinstance(tree, list):
        found += [path for n, value in enumerate(tree) for path in paths(value, (*here, n))]
    return found


@st.composite
def changes(draw: st.DrawFn, places: Sequence[Path]) -> tuple[Path, str, Any]:
    """One change: a place, whether it is replaced, taken away, doubled or moved, and a value."""
    act = draw(st.sampled_from(("replace", "replace", "remove", "double", "wrap")))
    return draw(st.sampled_from(places)), act, draw(values)


def changed(tree: Any, change: tuple[Path, str, Any]) -> Any:
    """A copy of a JSON value with one change made to it; a place that is not there stays so."""
    path, act, value = change
    if not path:
        return value if act == "replace" else tree
    tree = copy.deepcopy(tree)
    inner = tree
    for step in path[:-1]:
        if not _has(inner, step):
            return tree
        inner = inner[step]
    _change(inner, path[-1], act, value)
    return tree


def _has(tree: Any, step: str | int) -> bool:
    if isinstance(step, int):
        return isinstance(tree, list) and step < len(tree)
    return isinstance(tree, dict) and step in tree


def _change(tree: Any, step: Any, act: str, value: Any) -> None:
    if not _has(tree, step):
        return
    if act == "remove":
        del tree[step]
    elif act == "double" and isinstance(tree, list):
        tree.append(tree[step])
    elif act == "wrap":
        tree[step] = [tree[step]]
    else:
        tree[step] = value


def mutants(*bases: Any) -> st.SearchStrategy[Any]:
    """Any of these JSON values, changed in one to three places."""

    def of(base: Any) -> st.SearchStrategy[Any]:
        made = st.lists(changes(paths(base)), min_size=1, max_size=3)
        return made.map(lambda all_of_them: _all(base, all_of_them))

    return st.sampled_from(bases).flatmap(of)


def _all(tree: Any, made: Sequence[tuple[Path, str, Any]]) -> Any:
    for change in made:
        tree = changed(tree, change)
    return tree
