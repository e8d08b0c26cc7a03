"""Meeting passwords are stored nowhere, in whatever spelling and place Recall sends them."""

import json
from typing import Any

import pytest
from alembic import command
from sqlalchemy import Engine, insert

from models.tables.base import db_now
from models.tables.bot import Bot
from models.tables.calendar import CalendarMeeting
from models.tables.link import LinkAttempt
from tests.conftest import MakeContext, MakeSettings, alembic_config, migrate
from tests.lab.faults.faults import Fault
from tests.lab.recall import FakeRecall
from tests.support.cli import link, teller
from tests.support.fakes import BOT, MEETINGS, answer, bot_body
from tests.support.rows import add_bot, rows
from workers.recall_api.client import failure_of
from workers.recall_api.errors import Endpoint
from workers.recall_api.meeting_secrets import is_secret, without_secrets
from workers.recall_api.schemas import read_bot, read_meeting

WORD = "Opensesame9"
KEYS = [
    "meeting_password",
    "business_meeting_password",
    "password",
    "Password",
    "meetingPassword",
    "encrypted-password",
    "hostPasscode",
    "passcode",
    "pass_code",
    "dial_in_passcode",
    "pwd",
    "PWD",
    "h.p.w.d",
    "tk",
    "token",
    "zakToken",
    "join_token",
    "client_secret",
    "pin",
    "host_key",
    "access code",
]
HARMLESS = [
    "platform",
    "meeting_id",
    "business_meeting_id",
    "organizer_id",
    "tenant_id",
    "thread_id",
    "message_id",
    "meeting_subdomain",
    "meeting_mtid",
    "meeting_path",
    "meeting_personal_room_id",
    "bot_id",
    "visibility",
    "zoom_invite",
    "shopping",
]
ADDRESSES = [
    f"https://example.zoom.us/j/5551?pwd={WORD}",
    f"https://example.zoom.us/j/5551?uname=a&pwd={WORD}.1#success",
    f"https://teams.microsoft.com/meet/234?p={WORD}",
    f"https://example.webex.com/m?MTID=m1&Password={WORD}",
    f"zoommtg://zoom.us/join?confno=5551&pwd={WORD}&zc=0",
    f"join <https://example.zoom.us/w/5?tk={WORD}&x=1> now",
    f"https://example.com/#passcode={WORD}",
]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("value", [WORD, {"in": WORD}, [WORD], 70_707])
def test_no_spelling_of_a_password_is_read(key: str, value: object) -> None:
    """Of a bot's meeting and of a meeting's invites, at the top and far within."""
    for spelt in ({key: value}, {"a": {"b": [{key: value}]}}):
        url = {"platform": "microsoft_teams", "meeting_id": "5551", **spelt}
        bot = read_bot({**bot_body(), "meeting_url": url}, BOT)
        meeting = read_meeting({"id": MEETINGS[0], "teams_invite": url}, MEETINGS[0])
        for told in (bot.meeting_url, meeting.details):
            assert WORD not in json.dumps(told)
            assert "70707" not in json.dumps(told)
            assert "5551" in json.dumps(told)


@pytest.mark.parametrize("address", ADDRESSES)
def test_no_address_keeps_its_password(address: str) -> None:
    """Given as the meeting itself, within it, or in an invite; the rest of it stays."""
    for url in (address, {"platform": "zoom", "join_url": address, "more": [address]}):
        bot = read_bot({**bot_body(), "meeting_url": url}, BOT)
        assert WORD not in json.dumps(bot.meeting_url)
    meeting = read_meeting({"id": MEETINGS[0], "zoom_invite": {"url": address}}, MEETINGS[0])
    assert WORD not in json.dumps(meeting.details)
    assert address.partition(WORD)[0] in json.dumps(meeting.details)


@pytest.mark.parametrize(
    "body",
    [
        f'{{"meeting_url": "https://example.zoom.us/j/5551?pwd={WORD}"}}',
        f'{{"business_meeting_password": "{WORD}", "detail": "no"}}',
        f'{{"meeting_password" : "{WORD}", "detail": "no"}}',
        f"{{'passcode': '{WORD}'}}",
    ],
)
def test_an_error_that_echoes_a_password_is_kept_without_it(body: str) -> None:
    """It stands in last_error and in the call records, which many may read."""
    failure = failure_of(answer(status=400), Endpoint.BOT, ())
    assert failure is not None
    refused = failure_of(answer_of(body), Endpoint.BOT, ())
    assert refused is not None
    assert WORD not in refused.detail
    assert "…" in refused.detail


def answer_of(text: str) -> Any:
    """A refusal with this body."""
    refusal = answer(status=400)
    return type(refusal)(400, refusal.headers, text.encode())


@pytest.mark.parametrize("name", HARMLESS)
def test_what_opens_nothing_stays(name: str) -> None:
    """Ids and platforms are what people look a meeting up by."""
    assert not is_secret(name)
    text = f"https://example.com/?{name}=42"
    assert without_secrets(text) == text


def test_metadata_is_the_operators_own() -> None:
    """Its words stay as they are, also those that look like a secret in Recall's own objects."""
    given = {"token_count": "5", "site": "https://example.com/?p=3"}
    assert read_bot({**bot_body(), "metadata": given}, BOT).metadata == given


def test_no_password_comes_as_far_as_the_tables_or_an_export(
    engine: Engine, recall: FakeRecall, make_context: MakeContext, database_url: str
) -> None:
    """Through the whole way, from Recall's bodies to what is shown of a person."""
    user = recall.build.user("ines")
    bot = recall.build.bot([recall.build.meeting(user)])
    secret = dict.fromkeys(KEYS, WORD) | {"url": ADDRESSES[0]}

    def spoil(body: Any) -> Any:
        name = "meeting_url" if "meeting_url" in body else "teams_invite"
        body[name] = {"platform": "microsoft_teams", "meeting_id": "5551", **secret}
        return body

    for path in ("bot/{id}", "calendar/meetings/{id}"):
        recall.faults.add(Fault(act="transform", path=path, transform=spoil))
    link(engine, make_context(), bot.id)
    assert "5551" in json.dumps([row.meeting_url for row in rows(engine, Bot)])
    assert "5551" in json.dumps([row.details for row in rows(engine, CalendarMeeting)])
    everything = [
        str(row) for table in (Bot, CalendarMeeting, LinkAttempt) for row in rows(engine, table)
    ]
    exported = teller(database_url, recall)("export", "ines")
    assert exported.exit_code == 0
    assert "5551" in exported.stdout
    for told in (*everything, exported.stdout):
        assert WORD not in told


def test_passwords_that_were_stored_before_are_redacted(
    engine: Engine, make_settings: MakeSettings
) -> None:
    """By the migration: in addresses, details and errors; what opens nothing stays as it was."""
    config = alembic_config()
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0012")
    keys = [key for key in KEYS if key != "h.p.w.d"]
    secret = {"id": "5551", "deep": [dict.fromkeys(keys, WORD)], "urls": ADDRESSES}
    for number in range(3):
        error = f"http_400: bot: see {ADDRESSES[number]}"
        url = secret | {"platform": "zoom"} if number else {"platform": "zoom", "id": "5551"}
        add_bot(engine, f"{number}", meeting_url=url, last_error=error)
    meeting = {"id": MEETINGS[0], "state": "found", "details": {"teams_invite": secret}}
    attempt = {"bot_id": "0", "outcome": "failed", "error": f'x: {{"passcode": "{WORD}"}}'}
    with engine.begin() as connection:
        times = {"start_time": db_now(), "end_time": db_now()}
        connection.execute(insert(CalendarMeeting).values(**meeting, **times))
        spent = {"started_at": db_now(), "finished_at": db_now(), "calls": []}
        connection.execute(insert(LinkAttempt).values(**attempt, **spent))
    migrate(make_settings())
    for table in (Bot, CalendarMeeting, LinkAttempt):
        told = str(rows(engine, table))
        assert WORD not in told
        assert "…" in told
    assert {row.meeting_url["id"] for row in rows(engine, Bot)} == {"5551"}
    assert rows(engine, Bot)[0].meeting_url == {"platform": "zoom", "id": "5551"}
