"""Log lines: no secret in them, one event a line, nothing from outside that forges another."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from models.logs import clean, set_up_logging
from models.settings import Settings


@pytest.fixture
def quiet_logging() -> Iterator[None]:
    """Put logging back as it was."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before
    structlog.reset_defaults()


def logged(capsys: pytest.CaptureFixture[str], log_format: str, **values: object) -> str:
    """What one warning looks like."""
    set_up_logging(Settings.read({"LOG_FORMAT": log_format}))
    structlog.stdlib.get_logger("test").warning("said", **values)
    return capsys.readouterr().err


@pytest.mark.parametrize("log_format", ["console", "json"])
@pytest.mark.parametrize(
    "value",
    ["a\nWARNING forged", "a\r\n", "\x1b[2Jclear", "\u202eevil", "\u2028next", "\x00", "\x85"],
)
def test_no_value_forges_a_line(
    capsys: pytest.CaptureFixture[str], quiet_logging: None, log_format: str, value: str
) -> None:
    """Control and direction characters are written out."""
    line = logged(capsys, log_format, title=value)
    assert line.count("\n") == 1
    for character in "\x1b\u202e\u2028\x00\x85\r":
        assert character not in line


@pytest.mark.parametrize(
    "value",
    [
        "Authorization: Token abcdef0123456789",
        "Bearer abcdef0123456789",
        "x-recallcalendarauthtoken: abcdef0123456789",
        "whsec_abcdef0123456789",
        "postgres://user:abcdef0123456789@host/db",
        "rediss://:abcdef0123456789@host:6379",
    ],
)
def test_no_value_tells_a_secret(
    capsys: pytest.CaptureFixture[str], quiet_logging: None, value: str
) -> None:
    """Whatever carried it there."""
    assert "abcdef0123456789" not in logged(capsys, "json", detail=f"failed: {value}")
    assert "abcdef0123456789" not in str(clean(None, "info", {"event": value}))


def test_json_lines_are_json(capsys: pytest.CaptureFixture[str], quiet_logging: None) -> None:
    """With the level, the logger, a UTC time and the values."""
    line = json.loads(logged(capsys, "json", bot_id="b", calls=3))
    assert (line["event"], line["level"], line["bot_id"], line["calls"]) == (
        "said",
        "warning",
        "b",
        3,
    )
    assert line["timestamp"].endswith("Z")


def test_a_traceback_stays_readable_and_marked(
    capsys: pytest.CaptureFixture[str], quiet_logging: None
) -> None:
    """Each of its lines is marked as such, so that none passes for a line of its own."""
    set_up_logging(Settings.read({}))
    try:
        int("first\nforged")
    except ValueError:
        structlog.stdlib.get_logger("test").exception("broke")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) > 3
    assert all(line.startswith("  | ") for line in lines[1:])


def test_libraries_lines_take_the_same_form(
    capsys: pytest.CaptureFixture[str], quiet_logging: None
) -> None:
    """Theirs are cleaned as ours are."""
    set_up_logging(Settings.read({"LOG_FORMAT": "json"}))
    logging.getLogger("waitress").error("bad request from %s", "x\nforged whsec_abcdef")
    line = json.loads(capsys.readouterr().err)
    assert line["event"] == "bad request from x\\nforged whsec_…"


def test_the_level_is_kept(capsys: pytest.CaptureFixture[str], quiet_logging: None) -> None:
    """LOG_LEVEL holds for everybody."""
    set_up_logging(Settings.read({"LOG_LEVEL": "ERROR"}))
    structlog.stdlib.get_logger("test").warning("unheard")
    assert capsys.readouterr().err == ""
