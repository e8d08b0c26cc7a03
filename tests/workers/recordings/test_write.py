"""Recordings in the database: from bodies and webhooks, in any order, without a call to Recall."""

import itertools
import json
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import Engine, delete, insert, select, update

from models.core.media_events import MediaNews
from models.queries.views import BOT_LINKS
from models.tables.base import db_now
from models.tables.bot import Bot, BotStatus
from models.tables.calendar import ErasedUser
from models.tables.delivery import Delivery
from models.tables.event import Event
from models.tables.link import Link
from models.tables.recording import Recording
from tests.support.fakes import BOT, START, ref
from tests.support.rows import add_bot, add_delivery, bot_row, later, rows, set_bot
from tests.workers.linking.test_save_bots import body, found, outcome_for, owe_again, save_now, take
from webhook.receiver.events import classify
from workers.linking.apply_deliveries import apply_all
from workers.privacy.tombstones import pseudonym
from workers.recall_api.recording_schemas import RecordingBody
from workers.recordings.bot_outcomes import refresh_outcomes
from workers.recordings.write import apply_media, save_recordings

RECORDING, TRANSCRIPT, VIDEO = (f"b0e8d4c{n}-6b1d-4c5e-9f3a-7b6c5d4e3f01" for n in range(3))


def webhook(event: str, at: datetime, artifact_id: str | None = None) -> dict[str, Any]:
    """A webhook about media, as v1.11 sends it."""
    kind, _, code = event.partition(".")
    data: dict[str, Any] = {
        "data": {"code": code, "sub_code": None, "updated_at": at.isoformat()},
        "bot": {"id": BOT, "metadata": {}},
        "recording": {"id": RECORDING, "metadata": {}},
    }
    if artifact_id:
        data[kind] = {"id": artifact_id, "metadata": {}}
    return {"event": event, "data": data}


def arrive(engine: Engine, *webhooks: dict[str, Any]) -> None:
    """Store webhooks as the receiver does, and apply each before the next comes."""
    for one in webhooks:
        raw = json.dumps(one).encode()
        read = classify(raw, later(3600))
        add_delivery(
            engine, read.bot_id, read.code, event=read.event, outcome=read.outcome,
            reason=read.reason, occurred_at=read.occurred_at, body=raw,
        )  # fmt: skip
        apply_all(engine)


def recording_body(code: str = "done", at: datetime = START, *news: MediaNews) -> RecordingBody:
    """A recording within a bot's body."""
    own = MediaNews(RECORDING, "recording", None, code, at)
    return RecordingBody(RECORDING, START, later(60), later(600_000), (own, *news))


def settle(engine: Engine, *recordings: RecordingBody) -> None:
    """Link the bot that is due, with these recordings in its body."""
    told = replace(body(ref(0)), recordings=recordings)
    save_now(engine, outcome_for(take(engine), bot=told, fetched=(found(0),)))


def stands(engine: Engine) -> tuple[Any, ...]:
    """How the one recording stands, whenever it was seen."""
    (row,) = rows(engine, Recording)
    left_out = ("seen_at", "status_times")
    return tuple(value for name, value in row._mapping.items() if name not in left_out)


def test_a_bodys_recordings_are_written_with_the_link(engine: Engine) -> None:
    """Ids, states and times; a reader of bot_links sees them."""
    add_bot(engine, BOT)
    transcript = MediaNews(RECORDING, "transcript", TRANSCRIPT, "done", later(70))
    settle(engine, recording_body("done", later(60), transcript))
    (row,) = rows(engine, Recording)
    assert (row.id, row.bot_id, row.status, row.source) == (RECORDING, BOT, "done", "bot")
    assert (row.started_at, row.completed_at) == (START, later(60))
    assert (row.expires_at, row.transcript_id) == (later(600_000), TRANSCRIPT)
    with engine.connect() as connection:
        link = connection.execute(select(BOT_LINKS)).one()
    assert (link.recording_id, link.recording_expires_at) == (RECORDING, later(600_000))
    assert (link.transcript_id, link.recorded) == (TRANSCRIPT, None)


def test_a_webhook_is_applied_and_makes_no_bot_due(engine: Engine) -> None:
    """The economy of calls stays: what it says is in it. No bot is made of it either."""
    arrive(engine, webhook("recording.done", later(60)))
    (delivery,) = rows(engine, Delivery)
    assert (delivery.outcome, delivery.code) == ("accepted", "recording.done")
    assert delivery.applied_at is not None
    assert rows(engine, Bot) == rows(engine, BotStatus) == []
    assert stands(engine)[:3] == (RECORDING, BOT, "done")
    add_bot(engine, BOT, due_at=None, status="in_call_recording")
    arrive(engine, webhook("transcript.done", later(70), TRANSCRIPT))
    bot = bot_row(engine, BOT)
    assert (bot.due_at, bot.due_seq, bot.status) == (None, 1, "in_call_recording")
    assert rows(engine, BotStatus) == []


LIFE = [
    webhook("recording.processing", later(0)),
    webhook("recording.done", later(60)),
    webhook("transcript.failed", later(70), TRANSCRIPT),
    webhook("video_mixed.done", later(65), VIDEO),
]


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_every_order_of_arrival_ends_the_same(engine: Engine, order: tuple[int, ...]) -> None:
    """A transcript may come before its recording; each may come twice."""
    arrive(engine, *(LIFE[n] for n in order), LIFE[order[0]])
    row = rows(engine, Recording)[0]
    assert (row.status, row.transcript_id, row.transcript_status, row.video_id) == (
        "done",
        TRANSCRIPT,
        "failed",
        VIDEO,
    )


def test_a_whole_batch_is_applied_at_once(engine: Engine) -> None:
    """Beside the statuses of its bot, which come to their own."""
    for one in (*LIFE, {"event": "bot.done", "data": LIFE[1]["data"] | {}}):
        raw = json.dumps(one).encode()
        read = classify(raw, later(3600))
        add_delivery(
            engine, BOT, read.code, event=read.event, occurred_at=read.occurred_at, body=raw
        )
    assert apply_all(engine) == 5
    assert stands(engine)[:3] == (RECORDING, BOT, "done")
    assert [row.code for row in rows(engine, BotStatus)] == ["done"]
    assert bot_row(engine, BOT).due_seq == 1


def test_a_webhook_that_is_newer_than_the_body_stands(engine: Engine) -> None:
    """Whichever of the two is written first."""
    add_bot(engine, BOT)
    arrive(engine, webhook("recording.deleted", later(900)))
    settle(engine, recording_body("done", later(60)))
    ends = [stands(engine)]
    owe_again(engine)
    arrive(engine, webhook("recording.done", later(60)))
    ends.append(stands(engine))
    assert ends[0] == ends[1]
    assert ends[0][2] == "deleted"


def test_media_that_expired_is_a_state(engine: Engine) -> None:
    """The older generation says it of the bot: before or after its recording is known."""
    expired = {
        "event": "bot.status_change",
        "data": {
            "bot_id": BOT,
            "status": {"code": "media_expired", "created_at": START.isoformat()},
        },
    }
    expired["data"]["status"]["created_at"] = later(900).isoformat()  # type: ignore[index]
    arrive(engine, LIFE[1], LIFE[3], expired)
    first = stands(engine)
    assert first[2] == "media_expired"
    with engine.begin() as connection:
        connection.execute(delete(Recording))
    arrive(engine, LIFE[3], LIFE[1])
    assert stands(engine) == first


def test_a_recording_proves_that_its_bot_recorded(engine: Engine) -> None:
    """No status said so, and one webhook does; a reader of the link is told."""
    add_bot(engine, BOT, status="call_ended")
    with engine.begin() as connection:
        status = {"bot_id": BOT, "code": "call_ended", "occurred_at": later(50)}
        connection.execute(insert(BotStatus).values(**status))
    settle(engine)
    assert bot_row(engine, BOT).recorded is False
    before = rows(engine, Link)[0].updated_at
    arrive(engine, webhook("recording.done", later(60)))
    assert bot_row(engine, BOT).recorded is True
    assert rows(engine, Link)[0].updated_at > before
    events = [event for event in rows(engine, Event) if event.type == "link.updated"]
    assert {"recorded", "recording_id"} <= set(events[-1].data["changed"])
    told = len(rows(engine, Event))
    arrive(engine, webhook("recording.done", later(60)))
    assert len(rows(engine, Event)) == told


def test_an_emptied_body_is_applied_as_nothing(engine: Engine) -> None:
    """Of a person who was erased between arrival and applying."""
    add_delivery(engine, BOT, "recording.done", event="recording.done", body=b"")
    add_delivery(engine, BOT, "recording.done", event="recording.done", body=b"[1]")
    assert apply_all(engine) == 2
    assert rows(engine, Recording) == []
    assert None not in {row.applied_at for row in rows(engine, Delivery)}


def test_of_the_erased_the_payload_goes_as_it_is_applied(engine: Engine) -> None:
    """The ids and states stay: they name nobody."""
    add_bot(engine, BOT)
    settle(engine)
    with engine.begin() as connection:
        connection.execute(update(Link).values(external_id=pseudonym("crew-0")))
        connection.execute(
            insert(ErasedUser).values(external_id_hash="x", erased_at=db_now(), reason="erased")
        )
    arrive(engine, webhook("recording.done", later(60)))
    assert {row.body for row in rows(engine, Delivery)} == {b""}
    assert stands(engine)[:3] == (RECORDING, BOT, "done")


def test_what_is_stored_as_ignored_stays(engine: Engine) -> None:
    """An older release kept such webhooks so; nobody asks Recall again because of them."""
    add_delivery(engine, BOT, None, event="recording.done", outcome="ignored",
                 reason="not_a_bot_status", body=json.dumps(LIFE[1]).encode())  # fmt: skip
    assert apply_all(engine) == 0
    assert rows(engine, Recording) == []


def test_many_webhooks_are_read_a_few_bodies_at_a_time(engine: Engine) -> None:
    """More than fit one reading, each applied."""
    ids = [f"{n:08x}-6b1d-4c5e-9f3a-7b6c5d4e3f01" for n in range(120)]
    for key in ids:
        one = webhook("recording.done", START)
        one["data"]["recording"]["id"] = key
        add_delivery(engine, BOT, "recording.done", event="recording.done",
                     body=json.dumps(one).encode())  # fmt: skip
    assert apply_all(engine) == 120
    assert [row.id for row in rows(engine, Recording)] == ids


def test_a_second_bot_does_not_take_a_recording_over(engine: Engine) -> None:
    """Whose it is was said first by a verified word; another's changes its state at most."""
    other = webhook("recording.done", later(60))
    other["data"]["bot"]["id"] = f"{BOT[:-1]}9"
    arrive(engine, LIFE[0], other)
    assert stands(engine)[:3] == (RECORDING, BOT, "done")


def test_nothing_at_all_is_asked_for_no_media(engine: Engine) -> None:
    """Most batches have none."""
    set_bot(engine, BOT, status="done")
    with engine.begin() as connection:
        assert apply_media(connection, []) == []


def ready(engine: Engine) -> list[str]:
    """The types of the events that say that something is ready."""
    return [event.type for event in rows(engine, Event) if event.type.endswith(".ready")]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_what_became_ready_is_told_once_in_any_order(
    engine: Engine, order: tuple[int, ...]
) -> None:
    """By the webhook or by the body, whichever comes first."""
    add_bot(engine, BOT)
    transcript = MediaNews(RECORDING, "transcript", TRANSCRIPT, "done", later(70))
    told = (
        lambda: arrive(engine, webhook("recording.done", later(60))),
        lambda: arrive(engine, webhook("transcript.done", later(70), TRANSCRIPT)),
        lambda: settle(engine, recording_body("done", later(60), transcript)),
    )
    for number in order:
        told[number]()
    assert sorted(ready(engine)) == ["recording.ready", "transcript.ready"]
    event = next(event for event in rows(engine, Event) if event.type == "transcript.ready")
    assert (event.bot_id, event.data["recording"]["transcript_id"]) == (BOT, TRANSCRIPT)


def test_what_is_done_anew_is_told_by_its_id(engine: Engine) -> None:
    """A recording once, also when it is made anew; each transcript of it, also within one batch."""
    arrive(engine, *(webhook(f"recording.{code}", later(60 + n)) for n, code in
                     enumerate(("done", "processing", "done", "processing", "done"))))  # fmt: skip
    assert ready(engine) == ["recording.ready"]
    arrive(engine, webhook("transcript.done", later(70), TRANSCRIPT))
    for code, at in (("processing", 80), ("done", 90)):
        raw = json.dumps(webhook(f"transcript.{code}", later(at), VIDEO)).encode()
        add_delivery(engine, BOT, f"transcript.{code}", event=f"transcript.{code}",
                     occurred_at=later(at), body=raw)  # fmt: skip
    apply_all(engine)
    arrive(engine, webhook("transcript.done", later(95), TRANSCRIPT))
    assert ready(engine) == ["recording.ready", "transcript.ready", "transcript.ready"]


def test_what_an_older_release_told_is_not_told_again(engine: Engine) -> None:
    """It noted the states alone."""
    arrive(engine, webhook("recording.done", later(60)))
    with engine.begin() as connection:
        noted = {"recording": {"at": later(60).isoformat(), "code": "done", "id": None}}
        connection.execute(update(Recording).values(status_times=noted))
    arrive(engine, webhook("recording.processing", later(70)), webhook("recording.done", later(80)))
    assert ready(engine) == ["recording.ready"]


NEVER_MADE = {
    "failed": [webhook("recording.failed", later(60))],
    "failed and deleted": [
        webhook("recording.failed", later(60)),
        webhook("recording.deleted", later(90)),
    ],
    "an artifact of it": [webhook("participant_events.done", later(60), VIDEO)],
    "a code of next year": [webhook("recording.cancelled", later(60))],
}
MADE = {
    "done": [webhook("recording.done", later(60))],
    "done and failed": [
        webhook("recording.done", later(60)),
        webhook("recording.failed", later(70)),
    ],
    "failed and done": [
        webhook("recording.failed", later(70)),
        webhook("recording.done", later(60)),
    ],
}


@pytest.mark.parametrize("name", [*NEVER_MADE, *MADE])
@pytest.mark.parametrize("expires_first", [False, True])
def test_only_what_was_done_proves_a_recording(
    engine: Engine, name: str, *, expires_first: bool
) -> None:
    """In any order, and whatever expires in the end."""
    for code in ("joining_call", "call_ended", *["media_expired"] * expires_first):
        at = later(9000) if code == "media_expired" else later(0)
        add_delivery(engine, BOT, code, occurred_at=at)
    apply_all(engine)
    arrive(engine, *(NEVER_MADE | MADE)[name])
    add_delivery(engine, BOT, "media_expired", occurred_at=later(9000))
    apply_all(engine)
    assert bot_row(engine, BOT).recorded is (name in MADE)
    assert stands(engine)[2] == "media_expired"


def test_a_body_of_what_was_deleted_proves_that_it_began(engine: Engine) -> None:
    """Every webhook of it was lost; one that never began has no start."""
    for start in (None, START):
        add_bot(engine, new_bot := f"{BOT[:-1]}{'8' if start else '9'}")
        add_delivery(engine, new_bot, "call_ended", occurred_at=later(0))
        apply_all(engine)
        own = MediaNews(RECORDING, "recording", None, "deleted", later(60))
        key = RECORDING if start else TRANSCRIPT
        told = RecordingBody(key, start, None, None, (own,))
        with engine.begin() as connection:
            save_recordings(connection, {new_bot: [told]})
            refresh_outcomes(connection, [new_bot])
        assert bot_row(engine, new_bot).recorded is bool(start)


def test_what_failed_or_was_deleted_is_not_ready(engine: Engine) -> None:
    """Nobody is sent for what is not there."""
    arrive(engine, webhook("recording.failed", later(60)))
    arrive(engine, webhook("transcript.deleted", later(70), TRANSCRIPT))
    assert ready(engine) == []
