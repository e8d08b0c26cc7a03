"""What a verified body says: both generations, everything else Recall sends, and nonsense."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.core.sanitize import EARLIEST
from webhook.receiver.events import Classified, classify

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
BOT = "0c6b1f52-7a90-4f0e-9d7c-3f1f0f5f8a11"
RECORDING = "1d7c2a63-8ba1-4a1f-8e8d-4a2a1a6a9b22"
AT = "2026-11-20T11:59:58.570998+00:00"


def legacy(**status: Any) -> dict[str, Any]:
    """A body of the legacy generation."""
    given = {"code": "done", "created_at": AT, "sub_code": None, "message": None}
    return {"event": "bot.status_change", "data": {"bot_id": BOT, "status": given | status}}


def v111(event: str = "bot.done", **status: Any) -> dict[str, Any]:
    """A body of the v1.11 generation."""
    given = {"code": event.removeprefix("bot."), "sub_code": None, "updated_at": AT}
    return {"event": event, "data": {"data": given | status, "bot": {"id": BOT, "metadata": {}}}}


def read(body: Any) -> Classified:
    """Classify a JSON value."""
    return classify(json.dumps(body).encode(), NOW)


def test_both_generations_say_the_same() -> None:
    """One transition, two bodies, one meaning."""
    assert read(legacy()) == Classified(
        outcome="accepted",
        event="bot.status_change",
        bot_id=BOT,
        code="done",
        occurred_at=datetime.fromisoformat(AT),
    )
    assert read(v111()) == Classified(
        outcome="accepted",
        event="bot.done",
        bot_id=BOT,
        code="done",
        occurred_at=datetime.fromisoformat(AT),
    )


def test_sub_code_and_message_are_kept() -> None:
    """An empty sub_code, as realtime endpoints send it, is none."""
    found = read(legacy(code="fatal", sub_code="meeting_not_found", message="Nothing there."))
    assert (found.sub_code, found.message) == ("meeting_not_found", "Nothing there.")
    assert read(v111(sub_code="")).sub_code is None


@pytest.mark.parametrize(
    "event", ["realtime_endpoint.done", "participant_events.join", "transcript.data", "recording"]
)
def test_another_family_that_says_done_ends_no_bot(event: str) -> None:
    """The event decides, never the code alone; the bot's id is kept."""
    body = v111() | {"event": event}
    body["data"]["recording"] = {"id": RECORDING, "metadata": {}}
    found = read(body)
    assert (found.outcome, found.reason, found.bot_id) == ("ignored", "not_a_bot_status", BOT)
    assert found.code is None


def media(event: str = "recording.done", **status: Any) -> dict[str, Any]:
    """A body about a recording, or about something that was made of it."""
    body = v111(event, **{"code": event.partition(".")[2]} | status)
    body["data"]["recording"] = {"id": RECORDING, "metadata": {}}
    return body


@pytest.mark.parametrize(
    "event",
    ["recording.processing", "recording.done", "recording.failed", "recording.deleted",
     "transcript.done", "participant_events.done", "audio_mixed.done", "video_mixed.deleted",
     "meeting_metadata.done", "transcript.translated"],
)  # fmt: skip
def test_what_is_said_of_media_is_accepted_under_its_whole_name(event: str) -> None:
    """So that nobody who knows of statuses alone takes the `done` of a recording for its bot's."""
    assert read(media(event)) == Classified(
        outcome="accepted", event=event, bot_id=BOT, code=event,
        occurred_at=datetime.fromisoformat(AT),
    )  # fmt: skip


def test_media_that_nothing_can_be_said_of_is_ignored() -> None:
    """Of no bot (the desktop SDK's), of no recording, or in a state that its name does not say."""
    of_no_bot = media()
    of_no_bot["data"]["bot"] = None
    odd_bot = media()
    odd_bot["data"]["bot"]["id"] = "../x"
    of_no_recording = media("transcript.done")
    of_no_recording["data"]["recording"] = {"id": "7"}
    reasons = [read(body).reason for body in (of_no_bot, odd_bot, of_no_recording)]
    assert reasons == ["not_a_bot_status", "not_a_bot_status", "no_recording_id"]
    assert read(of_no_recording).bot_id == BOT
    assert read(media("transcript.translated", code="done")).reason == "not_a_bot_status"


def test_media_at_an_impossible_time_is_malformed() -> None:
    """As a bot's status is: a time ahead would freeze the state."""
    assert read(media(updated_at="9999-12-31T23:59:59Z")).reason == "time_ahead"
    assert read(media(updated_at=None)).reason == "bad_time"
    assert read(media(f"recording.{'x' * 64}")).reason == "bad_code"


def test_a_failed_transcript_says_why() -> None:
    """In its sub code."""
    found = read(media("transcript.failed", sub_code="provider_error"))
    assert (found.code, found.sub_code) == ("transcript.failed", "provider_error")


@pytest.mark.parametrize(
    "body",
    [
        {"event": "bot.log", "data": {"bot_id": BOT, "log": {"level": "info", "message": "m"}}},
        {"event": "bot.output_log", "data": {"job_id": None, "log": {}}},
        {"event": "calendar.update", "data": {"calendar_id": "cal_1"}},
        {"event": "sdk_upload.failed", "data": {"data": {"code": "failed"}, "recording": None}},
        {"event": "slack.huddle_state", "data": {}},
        {"event": "bot.something_new", "data": {"bot": {"id": BOT}}},
        {"event": "", "data": {}},
    ],
)
def test_what_is_of_no_bot_status_is_ignored(body: dict[str, Any]) -> None:
    """A workspace's endpoint gets more than bot statuses."""
    assert read(body).outcome == "ignored"


def test_an_unknown_code_is_accepted_as_text() -> None:
    """Recall adds codes without notice."""
    found = read(v111("bot.breakout_room_entered"))
    assert (found.outcome, found.code) == ("accepted", "breakout_room_entered")
    assert read(legacy(code="<script>alert(1)</script>")).code == "<script>alert(1)</script>"


def test_the_event_names_the_code() -> None:
    """Where the two differ the event stands, since dispatch is by the event."""
    assert read(v111("bot.call_ended", code="done")).code == "call_ended"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not_json"),
        (b"hello", "not_json"),
        (b'{"event":', "not_json"),
        (b"{} trailing", "not_json"),
        (b"\xef\xbb\xbf{}", "not_json"),
        (b'{"a": NaN}', "not_json"),
        (b'{"a": -Infinity}', "not_json"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not_json"),
        (b"\xff\xfe", "not_utf8"),
        ('{"event":"x"}'.encode("utf-16"), "not_utf8"),
        (b"[" * 100_000, "too_deep"),
        (b'{"a":' * 100_000, "too_deep"),
        (b"[]", "not_an_object"),
        (b"null", "not_an_object"),
        (b'"x"', "not_an_object"),
        (b'{"event":"a","event":"b"}', "duplicate_key"),
        (b"{}", "no_event"),
        (b'{"event":["bot.done"]}', "no_event"),
        (b'{"event":"bot.done"}', "no_data"),
        (b'{"event":"bot.done","data":null}', "no_data"),
        (b'{"event":"bot.done","data":[]}', "no_data"),
    ],
)
def test_a_body_that_is_no_event_is_malformed_and_says_why(body: bytes, reason: str) -> None:
    """Kept with a reason, never an error: Recall must not retry what can never succeed."""
    found = classify(body, NOW)
    assert (found.outcome, found.reason) == ("malformed", reason)


@pytest.mark.parametrize(
    "bot_id",
    [
        None, 7, "", "bot_123", "../../admin", f"{BOT}/../x", f"{BOT}\n", f"{{{BOT}}}", f"{BOT}?#",
        BOT.replace("-", ""), f"urn:uuid:{BOT}", BOT.replace("0", "\uff10"), "http://169.254.169.254/",
    ],
)  # fmt: skip
def test_a_bot_id_that_is_no_plain_uuid_is_malformed(bot_id: object) -> None:
    """An id becomes part of a URL: only its one form passes."""
    body = legacy()
    body["data"]["bot_id"] = bot_id
    assert (read(body).outcome, read(body).reason) == ("malformed", "bad_bot_id")
    body = v111()
    body["data"]["bot"]["id"] = bot_id
    assert (read(body).outcome, read(body).reason) == ("malformed", "bad_bot_id")


def test_a_bot_id_is_kept_in_lower_case() -> None:
    """Two spellings are one bot."""
    body = legacy()
    body["data"]["bot_id"] = BOT.upper()
    assert read(body).bot_id == BOT


@pytest.mark.parametrize("code", [None, 3, "", "x" * 65, "do\x00ne", "do\nne", "\ud800"])
def test_a_code_that_is_none_is_malformed(code: object) -> None:
    """Over 64 characters, or with a control character, or not text."""
    assert (read(legacy(code=code)).outcome, read(legacy(code=code)).reason) == (
        "malformed",
        "bad_code",
    )
    assert read(v111(code=code)).reason == "bad_code"


@pytest.mark.parametrize("status", [None, [], "done", 3])
def test_a_status_that_is_no_object_is_malformed(status: object) -> None:
    """The legacy event always carries one."""
    body = legacy()
    body["data"]["status"] = status
    assert read(body).reason == "no_status"


@pytest.mark.parametrize("at", [None, 1_790_000_000, "", "yesterday", "2026-13-01T00:00:00Z"])
def test_a_time_that_is_none_is_malformed(at: object) -> None:
    """Without it the status has no place in the order."""
    assert read(legacy(created_at=at)).reason == "bad_time"
    assert read(v111(updated_at=at)).reason == "bad_time"


def test_a_time_more_than_a_day_ahead_is_malformed() -> None:
    """One event of the year 9999 would freeze the bot's status for ever."""
    day = NOW + timedelta(days=1)
    assert read(legacy(created_at=day.isoformat())).outcome == "accepted"
    late = (day + timedelta(seconds=1)).isoformat()
    assert read(legacy(created_at=late)).reason == "time_ahead"
    assert read(legacy(created_at="9999-12-31T23:59:59Z")).reason == "time_ahead"


def test_a_time_before_all_time_is_clamped_and_that_is_said() -> None:
    """The event is applied, and its delivery's reason tells why its time looks odd."""
    found = read(legacy(created_at="0001-01-01T00:00:00+05:00"))
    assert (found.outcome, found.reason) == ("accepted", "time_clamped")
    assert found.occurred_at == EARLIEST


def test_the_year_one_only_orders() -> None:
    """Absurd, and harmless: every other event of the bot comes after it."""
    found = read(legacy(created_at="0001-01-01T00:00:00Z"))
    assert (found.outcome, found.occurred_at) == ("accepted", datetime(1, 1, 1, tzinfo=UTC))


def test_a_time_without_a_zone_is_utc() -> None:
    """Z, an offset, or nothing: one moment."""
    for text in ("2026-11-20T11:00:00", "2026-11-20T11:00:00Z", "2026-11-20T12:00:00+01:00"):
        assert read(legacy(created_at=text)).occurred_at == datetime(2026, 11, 20, 11, tzinfo=UTC)


def test_text_that_postgresql_refuses_is_replaced() -> None:
    """NUL and lone surrogates become U+FFFD in columns; the body itself is kept as bytes."""
    found = read(legacy(message="a\x00b\ud800c", sub_code="\x00"))
    assert (found.message, found.sub_code) == ("a\ufffdb\ufffdc", "\ufffd")
    assert read({"event": "odd\x00", "data": {}}).event == "odd\ufffd"


def test_numbers_beyond_measure_do_no_harm() -> None:
    """1e999 reads as infinity; it is in no field that is kept."""
    body = json.dumps(legacy()).replace('"message": null', '"extra": 1e999, "message": null')
    assert classify(body.encode(), NOW).outcome == "accepted"


def test_nesting_in_a_field_that_is_not_read_does_no_harm() -> None:
    """Deep, but not too deep to be parsed: the status beside it stands."""
    deep = '{"x":' * 900 + "1" + "}" * 900
    body = json.dumps(legacy()).replace('"message": null', f'"extra": {deep}, "message": null')
    assert classify(body.encode(), NOW).outcome == "accepted"
    body = json.dumps(legacy()).replace('"message": null', f'"message": {deep}')
    assert classify(body.encode(), NOW).message is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner),
    max_leaves=20,
)


@given(st.binary(max_size=300) | json_values.map(lambda value: json.dumps(value).encode()))
def test_no_body_makes_it_raise(body: bytes) -> None:
    """Whatever is signed is classified."""
    assert classify(body, NOW).outcome in ("accepted", "ignored", "malformed")


@given(
    base=st.sampled_from([legacy(), v111(), media(), media("transcript.failed")]),
    path=st.sampled_from(["event", "data", "bot_id", "status", "bot", "id", "code", "sub_code",
                          "created_at", "updated_at", "message"]),
    value=json_values,
)  # fmt: skip
def test_a_mutated_event_is_accepted_only_whole(base: Any, path: str, value: Any) -> None:
    """Replace any field by anything: what is accepted has a bot, a code and a time."""
    found = read(_replaced(json.loads(json.dumps(base)), path, value))
    if found.outcome == "accepted":
        assert found.bot_id
        assert found.code
        assert found.occurred_at
    else:
        assert found.reason


def _replaced(tree: Any, key: str, value: Any) -> Any:
    if isinstance(tree, dict):
        return {k: value if k == key else _replaced(v, key, value) for k, v in tree.items()}
    return tree
