"""What happens in the fake workspace follows Recall's pages."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.lab.asking import Asking, asking
from tests.lab.recall import FakeRecall
from tests.lab.world.builders import Builder
from tests.lab.world.clock import ManualClock, moment
from tests.lab.world.snapshot import dump, load
from tests.lab.world.timeline import OUTCOMES
from tests.lab.world.world import World


@pytest.fixture
def world() -> World:
    """Make an empty workspace whose clock stands still."""
    return World(clock=ManualClock(), seed=3)


@pytest.fixture
def build(world: World) -> Builder:
    """Make a seeded builder over that workspace."""
    return Builder(world, 3)


@pytest.fixture
def ask() -> Iterator[Asking]:
    """Yield a client of a fresh fake."""
    with FakeRecall(seed=9) as recall, asking(recall) as client:
        yield client


def test_a_second_calendar_of_a_platform_clears_the_first(world: World, build: Builder) -> None:
    """Meetings and references of the former calendar are gone; another platform's stay."""
    user, other = build.user(), build.user()
    mine = build.meeting(user)
    theirs = build.copy(mine, other)
    bot = build.bot([mine, theirs])
    kept = build.meeting(user)
    kept.calendar_platform = "microsoft"
    world.connect(user.id, "google", "second@lab.example")
    assert set(world.meetings) == {theirs.id, kept.id}
    assert [reference.id for reference in bot.calendar_meetings] == [theirs.id]
    assert user.connection("google").email == "second@lab.example"


def test_references_may_dangle_when_a_test_wants_it(world: World, build: Builder) -> None:
    """With keeps_references a bot names a meeting that is gone."""
    meeting = build.meeting(build.user())
    bot = build.bot([meeting])
    world.keeps_references = True
    world.delete_user(meeting.user_id)
    assert meeting.id not in world.meetings
    assert bot.calendar_meetings[0].id == meeting.id


def test_narrower_preferences_remove_scheduled_bots(world: World, build: Builder) -> None:
    """An upcoming meeting that is no longer selected loses its bot; one under way keeps it."""
    user = build.user()
    soon = moment(world.clock) + timedelta(hours=2)
    upcoming, running = build.meeting(user, start=soon), build.meeting(user)
    scheduled, joined = build.bot([upcoming], outcome=None), build.bot([running])
    world.set_preferences(user.id, {"record_external": False, "record_internal": False})
    assert scheduled.id not in world.bots
    assert (upcoming.will_record, upcoming.bot_id) == (False, None)
    assert joined.calendar_meetings[0].id == running.id


def test_a_shared_bot_survives_one_users_narrowing(world: World, build: Builder) -> None:
    """Only the reference of the user who wants less goes."""
    one, two = build.user(), build.user()
    mine = build.meeting(one, start=moment(world.clock) + timedelta(hours=2))
    theirs = build.copy(mine, two)
    bot = build.bot([mine, theirs], outcome=None)
    world.override_should_record(mine.id, value=False)
    assert [reference.id for reference in bot.calendar_meetings] == [theirs.id]


def test_an_override_beats_preferences_but_not_a_missing_link(world: World, build: Builder) -> None:
    """True records what preferences would not, unless there is nothing to join."""
    user = build.user()
    world.set_preferences(user.id, {"record_external": False, "record_internal": False})
    soon = moment(world.clock) + timedelta(hours=2)
    linked = build.meeting(user, start=soon)
    bare = build.meeting(user, start=soon, meeting_platform=None)
    for meeting in (linked, bare):
        world.override_should_record(meeting.id, value=True)
    assert (linked.will_record, bare.will_record) == (True, False)
    assert linked.will_record_reason == "override_should_record"


def test_a_rescheduled_meeting_moves_in_its_bots(world: World, build: Builder) -> None:
    """The bot's copy of the times follows."""
    meeting = build.meeting(build.user())
    bot = build.bot([meeting], outcome=None)
    start = datetime(2031, 5, 1, 9, tzinfo=UTC)
    world.reschedule(meeting.id, start, start + timedelta(hours=1))
    assert bot.calendar_meetings[0].start_time == meeting.start_time == start


def test_a_deleted_user_comes_back_under_another_id(world: World, build: Builder) -> None:
    """Authenticate creates anew; the old token stays worthless."""
    user = build.user("ines")
    token = world.authenticate("ines")
    world.delete_user(user.id)
    assert world.user_of_token(token) is None
    again = world.user_of_token(world.authenticate("ines"))
    assert again is not None
    assert again.id != user.id
    assert world.user_of_token(token) is None


def test_old_meetings_can_be_purged(world: World, build: Builder) -> None:
    """What ended over 60 days ago goes, and only that."""
    user = build.user()
    build.meeting(user, start=moment(world.clock) - timedelta(days=61))
    recent = build.meeting(user, start=moment(world.clock) - timedelta(days=59))
    assert world.purge_old_meetings() == 1
    assert list(world.meetings) == [recent.id]


def test_the_same_seed_makes_the_same_bots_whatever_becomes_of_them() -> None:
    """Another process with the seed knows the ids, as `send --bots` must."""

    def made(outcome: str | None) -> list[tuple[str, list[str]]]:
        bots = Builder(World(clock=ManualClock()), 7).populate(100, outcome=outcome)
        return [(bot.id, [r.id for r in bot.calendar_meetings]) for bot in bots]

    assert made("done") == made("fatal") == made(None)
    counts = {len(meetings) for _, meetings in made("done")}
    assert counts == {0, 1, 2}


def test_two_builders_do_not_share_a_person(world: World) -> None:
    """A second one finds other names, so no user is hidden behind another."""
    for seed in (1, 2):
        Builder(world, seed).populate(3)
    assert all(world.user_named(user.external_id or "") is user for user in world.users.values())


def test_a_world_survives_json(build: Builder, world: World) -> None:
    """What was dumped loads to the same users, meetings and bots."""
    build.populate(12)
    copy = World()
    load(copy, json.loads(json.dumps(dump(world))))
    assert (copy.users, copy.meetings, copy.bots) == (world.users, world.meetings, world.bots)


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_every_outcome_can_be_a_bots_past(build: Builder, outcome: str) -> None:
    """Times never run backwards; only what was recorded has a recording."""
    bot = build.bot(outcome=outcome)
    times = [change.created_at for change in bot.status_changes]
    assert times == sorted(times)
    codes = {change.code for change in bot.status_changes}
    assert bool(bot.recordings) == ("in_call_recording" in codes)


def test_the_world_goes_in_and_out_over_http(ask: Asking) -> None:
    """What one fake gives another can take, and replaces all it had."""
    ask.recall.build.populate(3)
    world = ask.control("GET", "world").json()
    with FakeRecall() as other, asking(other) as client:
        other.build.populate(1)
        counts = client.control("PUT", "world", json=world).json()
        assert counts["bots"] == 3
        assert client.control("GET", "world").json() == world


def test_everything_can_be_done_over_http(ask: Asking) -> None:
    """Mutations are named as in Python; a user may be named by external_id."""
    user = ask.recall.build.user("ines")
    meeting = ask.recall.build.meeting(user)
    bot = ask.recall.build.bot([meeting])
    token = ask.token("ines")
    times = {"start_time": "2030-01-02T03:00:00Z", "end_time": "2030-01-02T04:00:00Z"}
    _do(ask, "reschedule", meeting_id=meeting.id, **times)
    assert bot.calendar_meetings[0].start_time.year == 2030
    _do(ask, "drop_meeting", bot_id=bot.id, meeting_id=meeting.id)
    assert not bot.calendar_meetings
    assert _do(ask, "expire_tokens", external_id="ines") == 1
    assert ask.as_user(token, "GET", "calendar/user/").status_code == 401
    _do(ask, "connect", external_id="ines", platform="google", email="new@lab.example")
    assert not ask.recall.world.meetings
    _do(ask, "delete_user", external_id="ines")
    assert not ask.recall.world.users
    _do(ask, "change_status", bot_id=bot.id, code="media_expired", at="2030-02-01T00:00:00Z")
    assert bot.status == "media_expired"


def test_control_reads_calls_stats_faults_and_settings(ask: Asking) -> None:
    """What a test sees in process, a script sees over HTTP."""
    made = ask.control("POST", "populate", json={"seed": 4, "bots": 2}).json()
    ask.get(f"bot/{made['bots'][0]}/")
    (call,) = ask.control("GET", "calls", params={"template": "bot/{id}"}).json()
    assert call["about"] == made["bots"][0]
    stats = ask.control("GET", "stats").json()
    assert stats["calls"] == {"GET bot/{id} 200": 1}
    assert (stats["open_connections"], stats["bots"]) == (1, 2)
    settings = ask.control("PATCH", "settings", json={"latency_ms": 1, "limits": False}).json()
    assert (settings["latency_ms"], settings["limits"]) == (1, False)
    name = ask.control("POST", "faults", json={"status": 503, "times": 1}).json()["name"]
    assert ask.get("bot/").status_code == 503
    (fault,) = ask.control("GET", "faults").json()
    assert (fault["name"], fault["fired"]) == (name, 1)
    assert ask.control("DELETE", "faults").json() == []
    ask.control("DELETE", "calls")
    assert not ask.recall.calls.all()


@pytest.mark.parametrize(
    ("method", "door", "body", "status"),
    [
        ("GET", "cellar", None, 404),
        ("POST", "mutate", {"do": "explode"}, 400),
        ("POST", "mutate", {"do": "delete_user", "external_id": "nobody"}, 400),
        ("POST", "mutate", {"do": "remove_bot", "speed": 9}, 400),
        ("POST", "world", {"bots": [{"colour": "red"}]}, 400),
        ("POST", "faults", {"act": "sulk"}, 400),
        ("PATCH", "settings", {"gravity": 0}, 400),
    ],
)
def test_control_refuses_what_it_does_not_know(
    ask: Asking, method: str, door: str, body: object, status: int
) -> None:
    """A wrong request changes nothing and says why."""
    answer = ask.control(method, door, json=body)
    assert answer.status_code == status
    assert answer.json()["detail"]


def test_control_wants_its_token(ask: Asking) -> None:
    """The API key is not enough, and the calls are not told to strangers."""
    answer = ask.http.get("/_lab/stats", headers={"Authorization": ask.recall.api_key})
    assert answer.status_code == 403


def _do(ask: Asking, name: str, **arguments: object) -> object:
    answer = ask.control("POST", "mutate", json={"do": name, **arguments})
    assert answer.status_code == 200, answer.text
    return answer.json()["result"]
