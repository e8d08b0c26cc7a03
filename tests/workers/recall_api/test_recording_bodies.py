"""The recordings of a bot's body: ids, states and times are read, addresses never."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from models.core.media_events import MediaNews
from tests.support.fakes import BOT, START, bot_body
from workers.recall_api.recording_schemas import MOST_RECORDINGS
from workers.recall_api.schemas import BotBody, read_bot

RECORDING = "b0e8d4c0-6b1d-4c5e-9f3a-7b6c5d4e3f01"
TRANSCRIPT = "b0e8d4c1-6b1d-4c5e-9f3a-7b6c5d4e3f01"
AT = START.isoformat()


def item(**fields: Any) -> dict[str, Any]:
    """A recording as Recall words it."""
    status = {"code": "done", "sub_code": None, "updated_at": AT}
    transcript = {"id": TRANSCRIPT, "status": status, "data": {"download_url": "https://x/y?s=z"}}
    return {
        "id": RECORDING, "created_at": AT, "started_at": AT, "completed_at": None,
        "expires_at": AT, "status": status,
        "media_shortcuts": {"transcript": transcript, "video_mixed": None},
    } | fields  # fmt: skip


def read(value: object) -> BotBody:
    """Read a bot with this as its recordings."""
    return read_bot(bot_body() | {"recordings": value}, BOT)


def test_a_recording_is_read_with_what_was_made_of_it() -> None:
    """And without the addresses, which open it for some hours."""
    (found,) = read([item()]).recordings
    assert (found.id, found.started_at, found.completed_at) == (RECORDING, START, None)
    assert found.expires_at == START
    assert found.news == (
        MediaNews(RECORDING, "recording", None, "done", START),
        MediaNews(RECORDING, "transcript", TRANSCRIPT, "done", START),
    )
    assert "https" not in repr(found)


@pytest.mark.parametrize(
    "value",
    [None, 7, "x", {}, [None, 7, "x"], [{"id": "7"}], [{}], {"results": "x"}],
)
def test_a_strange_list_is_no_recording_and_harms_no_link(value: object) -> None:
    """Also a page that says that there are more."""
    assert read(value).recordings == ()
    assert read({"results": [item()], "next": "https://x"}).recordings[0].id == RECORDING


@pytest.mark.parametrize(
    "status",
    [None, "done", {}, {"code": None, "updated_at": AT}, {"code": "a\0", "updated_at": AT},
     {"code": "x" * 65, "updated_at": AT}],
)  # fmt: skip
def test_a_state_that_cannot_be_used_is_left_out(status: object) -> None:
    """The recording itself is known all the same."""
    (found,) = read([item(status=status, media_shortcuts="x")]).recordings
    assert (found.id, found.news) == (RECORDING, ())


def test_a_state_without_a_time_of_its_own_has_the_recordings() -> None:
    """Its end, or else when it was made."""
    status = {"code": "done", "updated_at": "yesterday"}
    later = (START + timedelta(hours=1)).isoformat()
    for completed, at in ((later, later), (None, AT)):
        one = item(status=status, completed_at=completed, media_shortcuts={})
        assert read([one]).recordings[0].news[0].at.isoformat() == at


def test_a_state_of_the_far_future_is_of_tomorrow_at_most() -> None:
    """Else no webhook could ever change it."""
    status = {"code": "done", "updated_at": "9999-12-31T23:59:59Z"}
    (news,) = read([item(status=status, media_shortcuts={})]).recordings[0].news
    assert news.at <= datetime.now(UTC) + timedelta(days=1)


def test_a_body_of_very_many_recordings_is_read_as_far_as_a_bot_can_have_them() -> None:
    """Whoever sends more must not fill a table."""
    assert len(read([item()] * 2 * MOST_RECORDINGS).recordings) == MOST_RECORDINGS
