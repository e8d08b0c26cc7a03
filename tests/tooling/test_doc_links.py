"""The documentation's links, anchors, pictures and file names: each leads somewhere."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^(```|~~~).*?^\1[ \t]*$", re.MULTILINE | re.DOTALL)
# A block by indentation follows an empty line; what continues a list item is indented less.
INDENTED = re.compile(r"(?<=\n\n)(?: {4}.*\n+)+")
CODE = re.compile(r"(`+)(.+?)\1", re.DOTALL)
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6}[ \t]+(.+?)[ \t#]*$", re.MULTILINE)
# What is written like a file or a folder of ours, from the root of the repository.
PATH = re.compile(
    r"(?:models|workers|webhook|migrations|tests|docs|bin|\.ci)/[\w./-]*"
    r"|[\w.-]+\.(?:toml|txt|json)|\.env\.example|Procfile"
)
IDS = [str(page.relative_to(ROOT)) for page in PAGES]


def without_blocks(text: str) -> str:
    """A page without its blocks of code."""
    return INDENTED.sub("", FENCE.sub("", text))


def anchor(heading: str) -> str:
    """What GitHub calls a heading: in lower case, without punctuation, with hyphens for blanks."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


@cache
def anchors(page: Path) -> set[str]:
    """The anchors of a page; the second of the same name ends in -1."""
    found: dict[str, int] = {}
    names = set()
    for heading in HEADING.findall(without_blocks(page.read_text())):
        name = anchor(heading)
        count = found.get(name, 0)
        found[name] = count + 1
        names.add(f"{name}-{count}" if count else name)
    return names


def links(page: Path) -> Iterator[tuple[bool, Path, str]]:
    """The relative links of a page: whether it is a picture, the file, the anchor or nothing."""
    text = CODE.sub("", without_blocks(page.read_text()))
    # A picture may stand within a link.
    for text_of_link in [text, *(label for _, label, _ in LINK.findall(text))]:
        for mark, _, target in LINK.findall(text_of_link):
            if not re.match(r"[a-z][a-z0-9+.-]*:", target):
                name, _, fragment = target.partition("#")
                yield bool(mark), (page.parent / name).resolve() if name else page, fragment


def paths(page: Path) -> Iterator[str]:
    """What a page has in backticks that is written like a file or a folder of ours."""
    for _, words in CODE.findall(without_blocks(page.read_text())):
        if PATH.fullmatch(words):
            yield words


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    """Relative ones: a page or a picture that is there, an anchor as GitHub makes it."""
    for is_picture, target, fragment in links(page):
        where = f"{page.relative_to(ROOT)}: {target} #{fragment}"
        assert target.is_relative_to(ROOT), where
        assert target.exists(), where
        assert not is_picture or target.suffix in (".png", ".svg"), where
        assert not fragment or fragment in anchors(target), where


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    """A file that has moved takes its name in the documentation along."""
    for path in paths(page):
        assert (ROOT / path).exists(), f"{page.relative_to(ROOT)}: {path}"


def test_every_page_and_picture_is_reached_from_the_readme() -> None:
    """By links alone, since nobody looks through a folder for what may be there."""
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page not in reached and page.is_file():
            reached.add(page)
            if page.suffix == ".md":
                waiting += [target for _, target, _ in links(page)]
    files = [path for path in (ROOT / "docs").rglob("*") if path.is_file()]
    assert [path for path in [*PAGES, *files] if path not in reached] == []


def test_anchors_are_made_as_github_makes_them() -> None:
    """From headings with punctuation, code, links and capitals."""
    assert anchor("What it survives") == "what-it-survives"
    assert anchor("`./dev bench` & the FAQ's questions") == "dev-bench--the-faqs-questions"
    assert anchor("0001: Commit first, then answer") == "0001-commit-first-then-answer"
    assert anchor("See [the map](architecture.md#map)") == "see-the-map"


def test_a_second_heading_of_the_same_name_has_a_number(tmp_path: Path) -> None:
    """A heading within a block of code is none."""
    page = tmp_path / "page.md"
    page.write_text("# A b\n\n```\n# no\n```\n\n    # nor this\n\n## A b\n\n## A b\n")
    assert anchors(page) == {"a-b", "a-b-1", "a-b-2"}


def test_links_in_code_are_not_followed(tmp_path: Path) -> None:
    """Nor are absolute ones; a picture within a link counts with it."""
    page = tmp_path / "page.md"
    page.write_text("`[a](b.md)` [c](d.md#e) [f](https://g.example) [![h](i.png)](j.md)\n")
    assert set(links(page)) == {
        (False, tmp_path / "d.md", "e"),
        (False, tmp_path / "j.md", ""),
        (True, tmp_path / "i.png", ""),
    }
