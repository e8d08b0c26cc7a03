"""Log lines: no secrets, one event a line, and no outside text can forge a line."""

import io
import json
import logging
import re
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import structlog
from rich.console import Console
from sqlalchemy import Engine

from models.core.logging import clean, set_up_logging
from models.settings.environment import Settings
from models.tables.bot import Bot
from tests.conftest import SECRET
from tests.lab.faults.faults import Fault
from tests.lab.recall import FakeRecall
from tests.lab.sender.deliveries import Delivery
from tests.lab.sender.sender import Sender
from tests.lab.stack.demo import play, running_demo
from tests.lab.stack.scenario import write_stories
from tests.support.fakes import BOT
from tests.support.processes import running, until
from tests.support.rows import rows

WEBHOOKS = "/webhooks/recall"
FORGED = "FORGED"
# Each line ending that some log reader accepts, followed by text that looks like a log line.
LINES = tuple(
    f"x{end}2026-11-24T00:00:00Z [info     ] {FORGED}"
    for end in ("\n", "\r\n", "\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\x1b[1A\r")
)


def logged(capsys: pytest.CaptureFixture[str], log_format: str, **values: object) -> str:
    """Return the log output of one warning."""
    set_up_logging(Settings.read({"LOG_FORMAT": log_format}))
    structlog.stdlib.get_logger("test").warning("said", **values)
    return capsys.readouterr().err


@pytest.mark.parametrize("log_format", ["console", "json"])
@pytest.mark.parametrize(
    "value",
    ["a\nWARNING forged", "a\r\n", "\x1b[2Jclear", "\u202eevil", "\u2028next", "\x00", "\x85"],
)
def test_no_value_forges_a_line(
    capsys: pytest.CaptureFixture[str], log_format: str, value: str
) -> None:
    """Control and bidirectional characters are escaped."""
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
def test_no_value_shows_a_secret(capsys: pytest.CaptureFixture[str], value: str) -> None:
    """Keys, tokens, signing secrets and passwords in URLs."""
    assert "abcdef0123456789" not in logged(capsys, "json", detail=f"failed: {value}")
    assert "abcdef0123456789" not in str(clean(None, "info", {"event": value}))


def test_a_long_value_is_cut_without_revealing_a_secret(capsys: pytest.CaptureFixture[str]) -> None:
    """Wherever the cut falls. Text that is slow to match is not searched for long."""
    for before in range(1960, 2002, 3):
        value = "x" * before + " postgres://user:abcdef0123456789@host/db " + "y" * 9000
        line = logged(capsys, "json", detail=value)
        assert "abcdef" not in line
        assert len(line) < 2500
    started = time.thread_time()
    logged(capsys, "json", detail="://:" * 100_000)
    assert time.thread_time() - started < 2


def test_json_lines_are_json(capsys: pytest.CaptureFixture[str]) -> None:
    """With level, logger, a UTC timestamp and the values."""
    line = json.loads(logged(capsys, "json", bot_id="b", calls=3))
    assert (line["event"], line["level"], line["bot_id"], line["calls"]) == (
        "said",
        "warning",
        "b",
        3,
    )
    assert line["timestamp"].endswith("Z")


def test_each_line_of_a_traceback_is_marked(capsys: pytest.CaptureFixture[str]) -> None:
    """So that no line of it can pass for a log line."""
    set_up_logging(Settings.read({}))
    try:
        int("first\nforged")
    except ValueError:
        structlog.stdlib.get_logger("test").exception("broke")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) > 3
    assert all(line.startswith("  | ") for line in lines[1:])


def test_lines_of_libraries_have_the_same_format(capsys: pytest.CaptureFixture[str]) -> None:
    """And are cleaned in the same way."""
    set_up_logging(Settings.read({"LOG_FORMAT": "json"}))
    logging.getLogger("waitress").error("bad request from %s", "x\nforged whsec_abcdef")
    line = json.loads(capsys.readouterr().err)
    assert line["event"] == "bad request from x\\nforged whsec_…"


def test_malformed_requests_cannot_fill_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    """At most one line a second about them, with long headers cut."""
    set_up_logging(Settings.read({}))
    for _ in range(100):
        logging.getLogger("waitress").warning("malformed header: %s", "x" * 60_000)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert len(said) < 3000
    logging.getLogger("waitress.queue").warning("the queue's lines are not limited")
    assert capsys.readouterr().err


def test_log_level_applies_to_every_logger(capsys: pytest.CaptureFixture[str]) -> None:
    """A line below LOG_LEVEL is not written."""
    set_up_logging(Settings.read({"LOG_LEVEL": "ERROR"}))
    structlog.stdlib.get_logger("test").warning("unheard")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("log_format", ["console", "json"])
def test_nothing_from_outside_forges_a_line_of_the_running_service(
    engine: Engine, database_url: str, tmp_path: Path, log_format: str
) -> None:
    """Ids, codes, reasons, titles and Recall's error texts, in web and worker."""
    settings: dict[str, Any] = {"LOG_LEVEL": "DEBUG", "LOG_FORMAT": log_format}
    settings["RECALL_RATE_SHARE"] = 100_000
    with (
        FakeRecall(limits=False) as recall,
        running(database_url, recall, tmp_path, SWEEP_SECONDS=0.2, **settings) as stack,
    ):
        bots = [hostile_bot(recall, line) for line in LINES]
        sender = Sender(f"{stack.url}{WEBHOOKS}", [SECRET])
        sender.run([Delivery.of(event) for line in LINES for event in hostile_events(line)])
        sender.run([Delivery.of(status_of(bot_id, "joining_call")) for bot_id in bots])
        with httpx.Client(base_url=stack.url) as client:
            for line in LINES:
                client.post(WEBHOOKS, params={"q": line}, content=line.encode())
                client.get(f"/{quote(line)}", headers={"x-odd": "y", "user-agent": FORGED})
        until(lambda: set(bots) <= settled_bots(engine), "every bot's first look-up")
    for name in ("web", "worker.1", "release"):
        raw = (tmp_path / f"{name}.log").read_bytes().decode()
        # Every line of the file starts with our own prefix, however lines are counted.
        assert len(raw.splitlines()) == raw.count("\n")
        assert [line for line in raw.splitlines() if not is_ours(line, log_format)] == []
    written = (tmp_path / "web.log").read_text() + (tmp_path / "worker.1.log").read_text()
    # The hostile text was logged; otherwise the test would prove nothing.
    assert written.count(FORGED) >= 2 * len(LINES)


def hostile_bot(recall: FakeRecall, line: str) -> str:
    """A bot whose look-up fails with an error text chosen by an attacker."""
    bot = recall.build.bot([])
    bot.bot_name = line
    # A permanent failure, so Recall's text is stored in last_error and logged.
    recall.faults.add(Fault(path="bot/{id}", match=bot.id, status=400, body=line))
    return bot.id


def hostile_events(line: str) -> list[dict[str, Any]]:
    """Webhooks with a hostile value in each stored field; some are malformed."""
    return [
        {"event": line, "data": {}},
        {"event": f"bot.{line}", "data": {"data": {"code": line}, "bot": {"id": line}}},
        {"event": line, "data": []},
        status_of(BOT, line),
        status_of(BOT, "done", sub_code=line, message=line),
        status_of(line, "done"),
    ]


def status_of(bot_id: str, code: str, **fields: Any) -> dict[str, Any]:
    """A webhook in the legacy format."""
    status = {"code": code, "created_at": "2026-11-20T10:00:00Z"} | fields
    return {"event": "bot.status_change", "data": {"bot_id": bot_id, "status": status}}


def settled_bots(engine: Engine) -> set[str]:
    """The bots that were settled at least once."""
    return {row.id for row in rows(engine, Bot) if row.settled_at}


def is_ours(line: str, log_format: str) -> bool:
    """Whether a line starts as our logging writes it."""
    if log_format == "json":
        try:
            return {"event", "level", "timestamp", "logger"} <= set(json.loads(line))
        except ValueError:
            return False
    stamp = r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?Z? \[(debug|info|warning|error)"
    is_trace = line.startswith("  | ")
    return is_trace or (re.match(stamp, line) is not None and f"] {FORGED}" not in line[:60])


def test_the_logs_of_a_whole_demo_show_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the API key, nor the signing secret, nor a calendar token."""
    monkeypatch.setattr("tests.lab.stack.demo.SEND_RATE", 400)
    with running_demo(seed=3, folder=tmp_path / "demo") as demo:
        play(demo, write_stories(demo.recall), 3, Console(file=io.StringIO()))
        tokens = list(demo.recall.world.tokens)
        secrets = [demo.recall.api_key, demo.secret, demo.secret.removeprefix("whsec_"), *tokens]
        folder = demo.database.parent
    logs = "".join(path.read_text() for path in folder.glob("*.log"))
    assert len(tokens) > 5
    assert logs.count("settled") >= 10
    assert [secret for secret in secrets if secret in logs] == []
