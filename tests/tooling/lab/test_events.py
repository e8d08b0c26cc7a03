"""The bodies of a bot's life look like the ones of both generations."""

from datetime import UTC, datetime
from itertools import pairwise

import pytest

from tests.lab.sender.events import Generation, events_of, lifecycle
from tests.lab.world.builders import Builder
from tests.lab.world.timeline import OUTCOMES
from tests.lab.world.world import World

BOT = "7f4d9a52-0f6f-4c5e-9b7a-3a4c1d5e6f70"
START = datetime(2026, 3, 4, 9, 58, tzinfo=UTC)
BOTH = pytest.mark.parametrize("generation", ["legacy", "v1.11"])


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_legacy_bodies_carry_the_whole_status(outcome: str) -> None:
    """bot.status_change names the bot and has code, time, sub_code and message."""
    events = lifecycle(BOT, generation="legacy", outcome=outcome, start=START)
    for event in events:
        assert event["event"] == "bot.status_change"
        assert event["data"]["bot_id"] == BOT
        assert set(event["data"]["status"]) == {"code", "created_at", "sub_code", "message"}
    assert len(events) == len(OUTCOMES[outcome])


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_new_bodies_are_named_after_their_code(outcome: str) -> None:
    """bot.CODE has code, sub_code and updated_at beside the bot, and no message."""
    for event in lifecycle(BOT, outcome=outcome, start=START):
        data = event["data"]["data"]
        assert event["event"] == f"bot.{data['code']}"
        assert set(data) == {"code", "sub_code", "updated_at"}
        assert event["data"]["bot"] == {"id": BOT, "metadata": {}}
        assert data["code"] not in {"ready", "recording_done", "media_expired"}


def test_a_recorded_life_ends_done_milliseconds_after_the_rest() -> None:
    """Order and spacing are those of a real bot; done follows recording_done within a second."""
    status = [e["data"]["status"] for e in lifecycle(BOT, generation="legacy", start=START)]
    assert [s["code"] for s in status] == [
        *("ready", "joining_call", "in_waiting_room", "in_call_not_recording"),
        *("in_call_recording", "call_ended", "recording_done", "done"),
    ]
    times = [datetime.fromisoformat(s["created_at"]) for s in status]
    assert times[1] == START
    assert 0 < (times[-1] - times[-2]).total_seconds() < 1


def test_codes_can_share_a_timestamp() -> None:
    """With ties three codes have one time, without none do."""

    def times(*, ties: bool) -> list[str]:
        events = lifecycle(BOT, start=START, ties=ties)
        return [event["data"]["data"]["updated_at"] for event in events]

    tied, untied = times(ties=True), times(ties=False)
    assert tied[1] == tied[2] == tied[3]
    assert all(one < two for one, two in pairwise(untied))


@BOTH
@pytest.mark.parametrize("outcome", OUTCOMES)
def test_a_life_that_is_told_without_a_start_is_over(generation: Generation, outcome: str) -> None:
    """No event lies in the future, not even the end of a week's retention."""
    data = lifecycle(BOT, generation=generation, outcome=outcome)[-1]["data"]
    at = data["status"]["created_at"] if generation == "legacy" else data["data"]["updated_at"]
    assert datetime.fromisoformat(at) < datetime.now(UTC)


@BOTH
@pytest.mark.parametrize(
    ("outcome", "last", "sub_code"),
    [
        ("done", "done", None),
        ("empty", "done", "timeout_exceeded_noone_joined"),
        ("fatal", "fatal", "meeting_not_found"),
        ("abrupt", "fatal", "zoom_sdk_credentials_missing"),
        ("kicked", "done", None),
    ],
)
def test_outcomes_end_as_they_should(
    generation: Generation, outcome: str, last: str, sub_code: str | None
) -> None:
    """The last event of each outcome is its terminal one."""
    data = lifecycle(BOT, generation=generation, outcome=outcome, start=START)[-1]["data"]
    status = data["status"] if generation == "legacy" else data["data"]
    assert (status["code"], status["sub_code"]) == (last, sub_code)


def test_noise_says_done_without_being_the_bots_end() -> None:
    """recording.done and transcript.done name the bot and say done; others name no bot at all."""
    events = {event["event"]: event["data"] for event in lifecycle(BOT, noise=True)}
    for name in ("recording.done", "transcript.done"):
        assert events[name]["data"]["code"] == "done"
        assert events[name]["bot"]["id"] == BOT
    assert events["realtime_endpoint.running"]["data"]["sub_code"] == ""
    assert "code" not in events["participant_events.join"]["data"]
    assert events["sdk_upload.failed"]["recording"] is None
    assert set(events["calendar.update"]) == {"calendar_id"}
    logs = lifecycle(BOT, generation="legacy", noise=True)
    assert "bot.log" in {event["event"] for event in logs}


def test_a_builders_bot_and_its_events_tell_one_story() -> None:
    """A bot from the builder has in its body the times its webhooks carry, metadata included."""
    bot = Builder(World(), 7).bot()
    bot.metadata = {"team": "a"}
    events = events_of(bot)
    assert events == lifecycle(bot, start=bot.join_at)
    assert events[0]["data"]["bot"]["metadata"] == {"team": "a"}
    assert lifecycle(bot)[0]["event"] == "bot.joining_call"
