"""Every event of Recall's, mutated, signed and posted to the real web process, then applied."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from models.tables.bot import Bot
from models.tables.delivery import Delivery
from tests.conftest import SECRET
from tests.lab.faults.noise import artifact
from tests.lab.recall import FakeRecall
from tests.lab.sender.events import Generation, lifecycle
from tests.lab.sender.signing import Family, new_message_id, new_secret, sign
from tests.support.fakes import BOT
from tests.support.json_mutations import mutants
from tests.support.processes import environ_for, web_alone
from tests.support.rows import rows
from workers.linking.apply_deliveries import apply_all

PATH = "/webhooks/recall"
MIB = 1024 * 1024
MEDIA = (
    *("recording", "audio_mixed", "audio_separate", "video_mixed", "video_separate"),
    *("transcript", "participant_events", "meeting_metadata", "realtime_endpoint"),
)
OUTCOMES = {"accepted", "duplicate", "ignored", "malformed"}
FAMILIES: tuple[Family, ...] = ("svix", "webhook")


def every_event() -> list[Any]:
    """A body of each kind that a workspace sends: both generations, and all the other families."""
    generations: tuple[Generation, ...] = ("legacy", "v1.11")
    start = datetime.now(UTC) - timedelta(hours=3)
    lives = [
        event
        for generation in generations
        for outcome in ("done", "fatal")
        for event in lifecycle(BOT, generation=generation, outcome=outcome, start=start, noise=True)
    ]
    ids = {"bot_id": BOT, "recording_id": BOT}
    media = [
        artifact(kind, code, start, **ids)
        for kind in MEDIA
        for code in ("processing", "done", "failed", "deleted")
    ]
    others = [
        {"event": "slack.huddle_state", "data": {}},
        {"event": "bot.output_log", "data": {"job_id": None, "log": {"message": "m"}}},
        {"event": "sdk_upload.complete", "data": {"sdk_upload": {"id": BOT}, "recording": None}},
    ]
    return list({event["event"]: event for event in [*lives, *media, *others]}.values())


EVENTS = every_event()
signed_bytes = mutants(*EVENTS).map(lambda body: json.dumps(body).encode())


@st.composite
def broken_bytes(draw: st.DrawFn) -> bytes:
    """A body's own bytes, cut, doubled or written over at one place."""
    raw = json.dumps(draw(st.sampled_from(EVENTS))).encode()
    at = draw(st.integers(0, len(raw)))
    return raw[:at] + draw(st.binary(max_size=6)) + raw[at + draw(st.integers(0, 9)) :]


class Poster:
    """Posts signed bodies over one kept connection, and remembers what was said to each."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self.outcomes: dict[str, str] = {}

    def post(self, body: bytes, family: Family = "webhook") -> None:
        """Post one; anything but a 2xx with a known outcome fails the test."""
        message_id = new_message_id()
        headers = sign(message_id, body, [SECRET], timestamp=int(time.time()), family=family)
        answer = self._client.post(PATH, content=body, headers=headers)
        assert answer.status_code in (200, 202), (answer.status_code, body)
        self.outcomes[message_id] = answer.json()["outcome"]
        assert self.outcomes[message_id] in OUTCOMES


@contextmanager
def a_poster(database_url: str, folder: Path) -> Iterator[tuple[Poster, psutil.Process]]:
    """A web process, somebody who posts to it, and its entry in the machine's list."""
    with FakeRecall() as recall:
        environ = environ_for(database_url, recall, LOG_LEVEL="DEBUG")
    with (
        web_alone(environ, folder) as (process, url),
        httpx.Client(base_url=url, timeout=15) as client,
    ):
        yield Poster(client), psutil.Process(process.pid)
        assert process.code is None
    said = [json.loads(line) for line in (folder / "web.log").read_text().splitlines()]
    assert [one for one in said if one["level"] == "error" or "exception" in one] == []


@pytest.mark.hypothesis
def test_no_signed_body_is_an_error_and_each_is_kept_and_applied(
    engine: Engine, database_url: str, tmp_path: Path
) -> None:
    """All families of both generations, mutated: a 2xx, a row to the byte, and an applied bot."""
    kept: dict[str, bytes] = {}
    with a_poster(database_url, tmp_path) as (poster, _):

        @settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
        @given(signed_bytes | broken_bytes(), st.sampled_from(FAMILIES))
        def each(body: bytes, family: Family) -> None:
            if len(body) <= 262_144:
                poster.post(body, family)
                kept[next(reversed(poster.outcomes))] = body

        for event in EVENTS:
            poster.post(json.dumps(event).encode())
        each()
    stored = {row.id: row for row in rows(engine, Delivery)}
    assert {key: row.outcome for key, row in stored.items()} == poster.outcomes
    assert {key: stored[key].body for key in kept} == kept
    assert set(poster.outcomes.values()) == {"accepted", "ignored", "malformed"}
    apply_all(engine)
    after = rows(engine, Delivery)
    assert [row.id for row in after if row.reason == "apply_failed"] == []
    assert all(row.applied_at for row in after if row.outcome == "accepted")
    assert {row.bot_id for row in after if row.outcome == "accepted"} == {
        row.id for row in rows(engine, Bot)
    }


def test_nul_and_lone_surrogates_survive_the_database(
    engine: Engine, database_url: str, tmp_path: Path
) -> None:
    """In every text that is kept: the body to the byte, the columns with U+FFFD instead."""
    odd = "a\x00b\ud800c"
    bodies = [
        {
            "event": "bot.status_change",
            "data": {
                "bot_id": BOT,
                "status": {
                    "code": "fatal",
                    "sub_code": odd,
                    "message": odd,
                    "created_at": "2026-11-20T10:00:00Z",
                },
            },
        },
        {"event": f"odd.{odd}", "data": {odd: odd}},
    ]
    with a_poster(database_url, tmp_path) as (poster, _):
        for body in bodies:
            poster.post(json.dumps(body).encode())
    assert list(poster.outcomes.values()) == ["accepted", "ignored"]
    apply_all(engine)
    with engine.connect() as connection:
        log = connection.execute(text("SELECT event, sub_code FROM delivery_log")).all()
    assert sorted(log, key=str) == [
        ("bot.status_change", "a\ufffdb\ufffdc"),
        ("odd.a\ufffdb\ufffdc", None),
    ]
    (bot,) = rows(engine, Bot)
    assert bot.sub_code == "a\ufffdb\ufffdc"


def heavy_bodies() -> list[bytes]:
    """What costs a reader most for its size, each as large as is taken."""
    most = 262_144
    return [
        b"[" * most,
        b'{"a":' * (most // 5),
        b'{"event":"x","data":{"a":[' + b"[]," * (most // 3 - 20) + b"0]}}",
        b'{"event":"x","data":{"a":[' + b"{}," * (most // 3 - 20) + b"0]}}",
        b'{"event":"x","data":{"a":"' + b"\\u0000" * (most // 6 - 20) + b'"}}',
        b'{"event":"x","data":{"a":' + b"9" * 5000 + b"}}",
        b'{"event":"x","data":{' + b",".join(b'"k%d":1' % n for n in range(20_000)) + b"}}",
        b"\xff" * most,
        b" " * most,
    ]


# What the web process holds in memory is the same over either database.
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_web_process_stays_as_large_as_it_was(database_url: str, tmp_path: Path) -> None:
    """Hundreds of the costliest bodies, signed and not: what they took is given back."""
    stranger = new_secret()
    with a_poster(database_url, tmp_path) as (poster, process):

        def round_of_all(times: int) -> int:
            for body in heavy_bodies() * times:
                assert len(body) <= 262_144
                poster.post(body)
                headers = sign("m", body, [stranger], timestamp=int(time.time()))
                assert poster._client.post(PATH, content=body, headers=headers).status_code == 401
                assert poster._client.post(PATH, content=b" " * 500_000).status_code == 413
            return memory(process)

        before = round_of_all(2)
        after = round_of_all(8)
    assert after - before < 40 * MIB
    assert after < 250 * MIB


def memory(process: psutil.Process) -> int:
    """What a process has for itself, in bytes: shared pages are not its fault."""
    return int(process.memory_full_info().uss)


def test_every_kind_of_event_is_among_those_mutated() -> None:
    """Else the mutations prove less than they seem to: the families of Recall's catalogue."""
    kinds = {event["event"].partition(".")[0] for event in EVENTS}
    assert {*MEDIA, "bot", "calendar", "sdk_upload", "slack"} <= kinds
    assert {"bot.status_change", "bot.done", "bot.log", "bot.fatal"} <= {
        event["event"] for event in EVENTS
    }
