"""How a recording stands: the same end in whatever order its news comes."""

import itertools
from datetime import datetime

import pytest

from models.core.media_events import MediaNews
from tests.support.fakes import START
from tests.support.rows import later
from workers.recall_api.recording_schemas import RecordingBody
from workers.recordings.state import RecordingState, fold

RECORDING, TRANSCRIPT, VIDEO = (f"a0e8d4c{n}-6b1d-4c5e-9f3a-7b6c5d4e3f01" for n in range(3))


def news(kind: str, code: str, at: datetime, artifact_id: str | None = None) -> MediaNews:
    """Something that Recall told of the recording."""
    return MediaNews(RECORDING, kind, artifact_id, code, at)


LIFE = [
    news("recording", "processing", later(0)),
    news("recording", "done", later(60)),
    news("transcript", "processing", later(61), TRANSCRIPT),
    news("transcript", "failed", later(70), TRANSCRIPT),
    news("video_mixed", "done", later(62), VIDEO),
    news("meeting_metadata", "done", later(62), VIDEO),
]


@pytest.mark.parametrize("order", list(itertools.permutations(range(len(LIFE)))))
def test_every_order_ends_the_same(order: tuple[int, ...]) -> None:
    """Also with each told twice: an older state that comes late changes nothing."""
    state = fold(RecordingState(), [LIFE[n] for n in (*order, *order)])
    assert (state.status, state.transcript_status) == ("done", "failed")
    assert (state.transcript_id, state.video_id, state.audio_id) == (TRANSCRIPT, VIDEO, None)
    assert state.source == "webhook"


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_of_equal_times_what_ends_it_stands(order: tuple[int, ...]) -> None:
    """Recall writes one time on several states."""
    codes = ("processing", "done", "deleted")
    state = fold(RecordingState(), [news("recording", codes[n], START) for n in order])
    assert state.status == "deleted"


def test_what_was_deleted_has_no_id_and_comes_back_by_no_late_word() -> None:
    """A transcript keeps its id beside its state; other media have no state of their own here."""
    gone = [
        news("video_mixed", "deleted", later(90), VIDEO),
        news("transcript", "deleted", later(90), TRANSCRIPT),
        news("recording", "deleted", later(90)),
    ]
    for state in (fold(RecordingState(), LIFE + gone), fold(RecordingState(), gone + LIFE)):
        assert (state.status, state.video_id) == ("deleted", None)
        assert (state.transcript_id, state.transcript_status) == (TRANSCRIPT, "deleted")


def test_a_new_transcript_takes_the_place_of_an_older_one() -> None:
    """A recording may be transcribed again."""
    other = news("transcript", "done", later(500), VIDEO)
    state = fold(RecordingState(), [other, *LIFE])
    assert (state.transcript_id, state.transcript_status) == (VIDEO, "done")


@pytest.mark.parametrize("kind", ["transcript", "video_mixed"])
@pytest.mark.parametrize("end", ["deleted", "failed"])
def test_the_end_of_an_old_artifact_does_not_hide_the_new_one(kind: str, end: str) -> None:
    """In whatever order they come; both expire in the end."""
    told = [
        news(kind, "done", later(70), TRANSCRIPT),
        news(kind, "done", later(90), VIDEO),
        news(kind, end, later(100), TRANSCRIPT),
    ]
    for order in itertools.permutations(told):
        state = fold(RecordingState(), order)
        assert VIDEO in (state.transcript_id, state.video_id)
        assert state.transcript_status in (None, "done")
        expired = state.expired(later(600))
        assert (expired.video_id, expired.transcript_status) in (
            (None, None),
            (None, "media_expired"),
        )


def test_expiry_ends_all_that_there_is() -> None:
    """The bot's status says it of the bot; what it never had it has not lost."""
    state = fold(RecordingState(), LIFE).expired(later(600))
    assert (state.status, state.transcript_status, state.video_id) == (
        "media_expired",
        "media_expired",
        None,
    )
    assert state.transcript_id == TRANSCRIPT
    assert state.expired(later(600)) == state
    bare = RecordingState().expired(later(600))
    assert (bare.status, bare.transcript_status) == ("media_expired", None)


def test_the_bodys_times_stay_when_a_later_body_leaves_them_out() -> None:
    """Webhooks have none of them."""
    told = RecordingBody(RECORDING, START, later(60), later(600), ())
    bare = RecordingBody(RECORDING, None, None, None, ())
    state = RecordingState().with_times(told).with_times(bare)
    assert (state.started_at, state.completed_at, state.expires_at) == (
        START,
        later(60),
        later(600),
    )
    assert state.source == "bot"


def test_a_code_that_is_new_is_kept_as_text() -> None:
    """Recall adds codes without notice."""
    state = fold(RecordingState(), [LIFE[0], news("recording", "archived", later(9))])
    assert state.status == "archived"
