"""What came of a bot, told from its whole history, in whatever order it became known."""

import itertools
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.core.bot_outcome import (
    END_KINDS,
    BotOutcome,
    MediaSpan,
    end_kind,
    essential_statuses,
    join_histories,
    outcome_from_history,
)
from models.core.bot_status import Status
from tests.support.rows import later

LOBBY = "timeout_exceeded_waiting_room"
CODES = (
    "joining_call",
    "in_waiting_room",
    "in_call_not_recording",
    "in_call_recording",
    "call_ended",
    "recording_done",
    "done",
    "fatal",
    "media_expired",
)
MOMENTS = st.integers(0, 6).map(later)
STATUSES = st.lists(
    st.builds(
        Status,
        st.sampled_from(CODES),
        MOMENTS,
        st.sampled_from([None, "", LOBBY, "bot_errored", "a_code_of_next_year"]),
    ),
    max_size=8,
    # As the table has it: one code at one time is one status.
    unique_by=lambda status: (status.code, status.occurred_at),
)
MEDIA = st.lists(st.builds(MediaSpan, st.none() | MOMENTS, st.none() | MOMENTS), max_size=2)
# None, then false, then true: what is found later never takes back what was recorded.
_STEPS = {None: 0, False: 1, True: 2}


def life(*codes: "str | tuple[str, str]") -> list[Status]:
    """Statuses a second apart, some with a sub code."""
    told = [(code, None) if isinstance(code, str) else code for code in codes]
    return [Status(code, later(n), sub_code) for n, (code, sub_code) in enumerate(told)]


def nothing(sub_code: str | None = None) -> BotOutcome:
    """A bot that recorded nothing."""
    return BotOutcome(recorded=False, ended_sub_code=sub_code)


def taken(
    start: datetime | None = None, end: datetime | None = None, sub_code: str | None = None
) -> BotOutcome:
    """A bot that recorded."""
    return BotOutcome(True, start, end, sub_code)  # noqa: FBT003 - beside three others


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        (life(), BotOutcome()),
        (life("joining_call", "in_waiting_room"), BotOutcome()),
        (life("in_call_recording"), BotOutcome(None, later(0))),
        (life(("call_ended", LOBBY), "done"), nothing(LOBBY)),
        (life("call_ended"), nothing()),
        (life("recording_done"), BotOutcome()),
        (life(("done", "noone")), nothing("noone")),
        (
            life(("call_ended", "host"), ("done", "other")),
            nothing("host"),
        ),
        (life("call_ended", ("done", "other")), nothing("other")),
        (life(("fatal", "locked")), nothing("locked")),
        (
            life(("fatal", "locked"), ("call_ended", "host")),
            nothing("locked"),
        ),
        (
            life(("call_ended", "first"), ("call_ended", "last"), ("call_ended", "")),
            nothing("last"),
        ),
        (
            life("in_call_recording", ("call_ended", "host"), "recording_done", "done"),
            taken(later(0), later(1), "host"),
        ),
        (
            life("in_call_recording", "in_call_not_recording", "done"),
            taken(later(0), later(1)),
        ),
        (
            life(
                "in_call_recording", "in_call_not_recording", "in_call_recording", "done", "fatal"
            ),
            taken(later(0), later(3)),
        ),
        (
            [*life("in_call_recording"), Status("in_call_not_recording", later(0))],
            BotOutcome(None, later(0)),
        ),
        (
            [Status("in_call_recording", later(0)), Status("done", later(0))],
            taken(later(0), later(0)),
        ),
    ],
)
def test_a_history_comes_to_this(history: list[Status], expected: BotOutcome) -> None:
    """Known with the end; `fatal` before `call_ended` before `done`; a pause is no end."""
    assert outcome_from_history(history) == expected


@pytest.mark.parametrize(
    ("media", "expected"),
    [
        ([MediaSpan()], taken()),
        ([MediaSpan(later(5), later(9))], taken(later(5), later(9))),
        (
            [MediaSpan(later(5), later(7)), MediaSpan(later(2), None)],
            taken(later(2), later(7)),
        ),
    ],
)
def test_a_recording_stands_for_a_status_that_was_lost(
    media: list[MediaSpan], expected: BotOutcome
) -> None:
    """Its times too, which the status itself would know better."""
    assert outcome_from_history(life("done"), media) == expected
    assert outcome_from_history([], media).recorded is None
    told = outcome_from_history(life("in_call_recording", "done"), media)
    assert (told.recorded_from, told.recorded_until) == (later(0), later(1))


@given(STATUSES, MEDIA)
def test_every_order_of_a_history_comes_to_the_same(
    history: list[Status], media: list[MediaSpan]
) -> None:
    """Also when each part of it is told twice."""
    expected = outcome_from_history(history, media)
    for order in itertools.islice(itertools.permutations(history), 24):
        assert outcome_from_history(order, media) == expected
        assert outcome_from_history([*order, *history], media[::-1]) == expected


@given(STATUSES, MEDIA)
def test_more_history_only_makes_it_truer(history: list[Status], media: list[MediaSpan]) -> None:
    """From unknown to nothing recorded to recorded, and never back."""
    seen = [outcome_from_history(history[:n], media).recorded for n in range(len(history) + 1)]
    steps = [_STEPS[recorded] for recorded in seen]
    assert steps == sorted(steps)
    began: list[datetime] = [
        outcome.recorded_from
        for n in range(len(history) + 1)
        if (outcome := outcome_from_history(history[:n])).recorded_from
    ]
    assert began == sorted(began, reverse=True)


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        ((None, "in_call_recording", None), None),
        ((True, "done", "call_ended_by_host"), "recorded"),
        ((True, "fatal", "bot_errored"), "recorded"),
        ((False, "fatal", "meeting_locked"), "fatal"),
        ((False, "fatal", LOBBY), "fatal"),
        ((False, "done", LOBBY), "not_admitted"),
        ((False, "call_ended", "bot_kicked_from_waiting_room"), "not_admitted"),
        ((False, "done", "a_code_of_next_year"), "not_recorded"),
        ((False, "done", None), "not_recorded"),
    ],
)
def test_how_a_bot_ended_in_one_word(
    told: tuple[bool | None, str, str | None], kind: str | None
) -> None:
    """A lobby that nobody opened is no failure; a fatal error is one."""
    recorded, status, sub_code = told
    assert end_kind(status, sub_code, recorded=recorded) == kind
    assert kind is None or kind in END_KINDS


@given(STATUSES, STATUSES)
def test_the_essential_statuses_have_the_outcome_of_them_all(
    body: list[Status], seen: list[Status]
) -> None:
    """And are the same few whenever they are taken again, with all or some of the others."""
    few = essential_statuses(body)
    assert len(few) <= 15
    assert outcome_from_history(few) == outcome_from_history(body)
    assert few <= set(body)
    assert essential_statuses([*few, *body]) == few
    reported = [status for status in seen if status.code != "in_call_recording"]
    joined, whole = join_histories(reported, few), join_histories(reported, body)
    assert outcome_from_history(joined) == outcome_from_history(whole)
